terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # Known to have resource gateways and resource configurations.
      version = ">= 5.90"
    }
  }
}
