terraform {
  # strcontains, which the modules beside this one use, came with 1.5.
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # logging_config of aws_lambda_function came with 5.32.
      version = ">= 5.32"
    }
  }
}
