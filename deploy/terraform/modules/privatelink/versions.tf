terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # Known to have supported_regions of aws_vpc_endpoint_service.
      version = ">= 5.83"
    }
  }
}
