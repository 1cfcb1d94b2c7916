terraform {
  # Optional object attributes with defaults came with 1.3, terraform_data with 1.4.
  required_version = ">= 1.4"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # logging_config of aws_lambda_function came with 5.32.
      version = ">= 5.32"
    }
  }
}
