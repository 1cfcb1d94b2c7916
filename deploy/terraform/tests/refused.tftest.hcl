# Every validation refuses. A run takes two seconds, so each breaks several variables at once: all must be refused.

mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { id = "eu-west-1" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
}

variables {
  package  = { s3_bucket = "bucket", s3_key = "code.zip" }
  bindings = { orders = { endpoint = "orders.cluster-abc123.eu-west-1.rds.amazonaws.com", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/orders/0123456789abcdef" } }
}

run "refuses_an_ipv4_address_and_a_tag_key_of_aws" {
  command = plan
  variables {
    # an ipv4 address
    bindings = { orders = { endpoint = "10.0.0.1", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/orders/0123456789abcdef" } }
    # a tag key of aws
    discovery_tag = "aws:tag"
    # no package
    package = {}
    # watch seconds 59
    settings = { watch_seconds = 59 }
    # a vpc without subnets
    vpc = { subnet_ids = [], security_group_ids = ["sg-0a"] }
    # a topic that is no arn
    alarms = { topic_arns = ["pager"] }
    # a name with a space
    name = "rds sync"
    # memory 64
    memory_size = 64
    # concurrency minus 2
    reserved_concurrency = -2
    # retention 31
    log_retention_days = 31
    # a key alias
    kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:alias/mine"
    # a boundary that is a role
    permissions_boundary_arn = "arn:aws:iam::123456789012:role/boundary"
    # a role that is a name
    role_arn = "my-role"
  }
  expect_failures = [var.bindings, var.discovery_tag, var.package, var.settings, var.vpc, var.alarms, var.name, var.memory_size, var.reserved_concurrency, var.log_retention_days, var.kms_key_arn, var.permissions_boundary_arn, var.role_arn]
}

run "refuses_an_ipv6_address_and_a_tag_key_with_a_quote" {
  command = plan
  variables {
    # an ipv6 address
    bindings = { orders = { endpoint = "fd00::1", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/orders/0123456789abcdef" } }
    # a tag key with a quote
    discovery_tag = "a\"b"
    # two packages
    package = { filename = "code.zip", s3_bucket = "bucket", s3_key = "code.zip" }
    # watch seconds 601
    settings = { watch_seconds = 601 }
    # a vpc without security groups
    vpc = { subnet_ids = ["subnet-0a"], security_group_ids = [] }
    # an email without host
    alarms = { email = "data" }
    # a long name
    name = "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
    # memory 2048
    memory_size = 2048
  }
  expect_failures = [var.bindings, var.discovery_tag, var.package, var.settings, var.vpc, var.alarms, var.name, var.memory_size]
}

run "refuses_a_name_of_one_label_and_a_tag_key_without_room_for_options" {
  command = plan
  variables {
    # a name of one label
    bindings = { orders = { endpoint = "orders", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/orders/0123456789abcdef" } }
    # a tag key without room for options
    discovery_tag = "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
    # a bucket without key
    package = { s3_bucket = "bucket" }
    # watch seconds 90 5
    settings = { watch_seconds = 90.5 }
    # email and topic
    alarms = { email = "data@example.com", topic_arns = ["arn:aws:sns:eu-west-1:123456789012:pager"] }
  }
  expect_failures = [var.bindings, var.discovery_tag, var.package, var.settings, var.alarms]
}

run "refuses_a_url_and_an_empty_tag_key" {
  command = plan
  variables {
    # a url
    bindings = { orders = { endpoint = "postgres://orders.example.com", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/orders/0123456789abcdef" } }
    # an empty tag key
    discovery_tag = ""
    # a key without bucket
    package = { filename = "code.zip", s3_key = "code.zip" }
    # poll millis 99
    settings = { poll_millis = 99 }
    # a topic without alarms
    alarms = { enabled = false, topic_arns = ["arn:aws:sns:eu-west-1:123456789012:pager"] }
  }
  expect_failures = [var.bindings, var.discovery_tag, var.package, var.settings, var.alarms]
}

run "refuses_a_port_in_the_endpoint_and_an_object_version_without_bucket" {
  command = plan
  variables {
    # a port in the endpoint
    bindings = { orders = { endpoint = "orders.example.com:5432", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/orders/0123456789abcdef" } }
    # an object version without bucket
    package = { filename = "code.zip", s3_object_version = "1" }
    # poll millis 60001
    settings = { poll_millis = 60001 }
  }
  expect_failures = [var.bindings, var.package, var.settings]
}

run "refuses_an_empty_endpoint_and_a_release_without_checksum" {
  command = plan
  variables {
    # an empty endpoint
    bindings = { orders = { endpoint = "", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/orders/0123456789abcdef" } }
    # a release without checksum
    package = { release_version = "1.2.3", release_url = "https://example.com" }
    # confirm seconds 3
    settings = { confirm_seconds = 3 }
  }
  expect_failures = [var.bindings, var.package, var.settings]
}

run "refuses_a_label_of_64_characters_and_a_release_without_address" {
  command = plan
  variables {
    # a label of 64 characters
    bindings = { orders = { endpoint = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example.com", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/orders/0123456789abcdef" } }
    # a release without address
    package = { release_version = "1.2.3", sha256 = "0000000000000000000000000000000000000000000000000000000000000000" }
    # confirm seconds 21
    settings = { confirm_seconds = 21 }
  }
  expect_failures = [var.bindings, var.package, var.settings]
}

run "refuses_the_arn_of_a_load_balancer_and_a_release_that_is_no_version" {
  command = plan
  variables {
    # the arn of a load balancer
    bindings = { orders = { endpoint = "orders.cluster-abc123.eu-west-1.rds.amazonaws.com", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/orders/0123456789abcdef" } }
    # a release that is no version
    package = { release_version = "latest", release_url = "https://example.com", sha256 = "0000000000000000000000000000000000000000000000000000000000000000" }
    # verify seconds 59
    settings = { verify_seconds = 59 }
  }
  expect_failures = [var.bindings, var.package, var.settings]
}

run "refuses_two_arns_in_one_and_a_release_address_without_scheme" {
  command = plan
  variables {
    # two arns in one
    bindings = { orders = { endpoint = "orders.cluster-abc123.eu-west-1.rds.amazonaws.com", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/orders/0123456789abcdef,arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/orders/0123456789abcdef" } }
    # a release address without scheme
    package = { release_version = "1.2.3", release_url = "example.com", sha256 = "0000000000000000000000000000000000000000000000000000000000000000" }
    # verify seconds 86401
    settings = { verify_seconds = 86401 }
  }
  expect_failures = [var.bindings, var.package, var.settings]
}

run "refuses_port_0_and_a_short_checksum" {
  command = plan
  variables {
    # port 0
    bindings = { orders = { endpoint = "orders.cluster-abc123.eu-west-1.rds.amazonaws.com", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/orders/0123456789abcdef", port = 0 } }
    # a short checksum
    package = { release_version = "1.2.3", release_url = "https://example.com", sha256 = "0123" }
    # elb calls per second 0
    settings = { elb_calls_per_second = 0 }
  }
  expect_failures = [var.bindings, var.package, var.settings]
}

run "refuses_port_65536_and_a_checksum_of_a_local_file" {
  command = plan
  variables {
    # port 65536
    bindings = { orders = { endpoint = "orders.cluster-abc123.eu-west-1.rds.amazonaws.com", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/orders/0123456789abcdef", port = 65536 } }
    # a checksum of a local file
    package = { filename = "code.zip", sha256 = "0000000000000000000000000000000000000000000000000000000000000000" }
    # elb calls per second 11
    settings = { elb_calls_per_second = 11 }
  }
  expect_failures = [var.bindings, var.package, var.settings]
}

run "refuses_half_a_port_and_an_unknown_architecture" {
  command = plan
  variables {
    # half a port
    bindings = { orders = { endpoint = "orders.cluster-abc123.eu-west-1.rds.amazonaws.com", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/orders/0123456789abcdef", port = 54.32 } }
    # an unknown architecture
    package = { s3_bucket = "bucket", s3_key = "code.zip", architecture = "aarch64" }
    # drift check minutes 0
    settings = { drift_check_minutes = 0 }
  }
  expect_failures = [var.bindings, var.package, var.settings]
}

run "refuses_a_database_that_is_a_name_and_drift_check_minutes_3" {
  command = plan
  variables {
    # a database that is a name
    bindings = { orders = { endpoint = "orders.cluster-abc123.eu-west-1.rds.amazonaws.com", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/orders/0123456789abcdef", database = "orders.example.com" } }
    # drift check minutes 3
    settings = { drift_check_minutes = 3 }
  }
  expect_failures = [var.bindings, var.settings]
}

run "refuses_an_empty_database_and_a_nameserver_by_name" {
  command = plan
  variables {
    # an empty database
    bindings = { orders = { endpoint = "orders.cluster-abc123.eu-west-1.rds.amazonaws.com", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/orders/0123456789abcdef", database = "" } }
    # a nameserver by name
    settings = { nameservers = ["dns.example.com"] }
  }
  expect_failures = [var.bindings, var.settings]
}

run "refuses_an_unknown_role_and_a_nameserver_with_port_0" {
  command = plan
  variables {
    # an unknown role
    bindings = { orders = { endpoint = "orders.cluster-abc123.eu-west-1.rds.amazonaws.com", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/orders/0123456789abcdef", role = "reader" } }
    # a nameserver with port 0
    settings = { nameservers = ["10.0.0.2:0"] }
  }
  expect_failures = [var.bindings, var.settings]
}

run "refuses_a_reader_endpoint_with_the_role_writer_and_a_nameserver_with_port_65536" {
  command = plan
  variables {
    # a reader endpoint with the role writer
    bindings = { orders = { endpoint = "orders.cluster-ro-abc123.eu-west-1.rds.amazonaws.com", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/orders/0123456789abcdef", role = "writer" } }
    # a nameserver with port 65536
    settings = { nameservers = ["10.0.0.2", "10.0.0.3:65536"] }
  }
  expect_failures = [var.bindings, var.settings]
}

run "refuses_a_reader_endpoint_without_a_role_and_a_suffix_with_a_comma" {
  command = plan
  variables {
    # a reader endpoint without a role
    bindings = { orders = { endpoint = "orders.cluster-ro-abc123.eu-west-1.rds.amazonaws.com", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/orders/0123456789abcdef" } }
    # a suffix with a comma
    settings = { discovery_endpoints = ["a.example.com,b.example.com"] }
  }
  expect_failures = [var.bindings, var.settings]
}

run "refuses_an_unknown_standby_and_a_log_level_without_metrics" {
  command = plan
  variables {
    # an unknown standby
    bindings = { orders = { endpoint = "orders.abc123.eu-west-1.rds.amazonaws.com", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/orders/0123456789abcdef", standby = "evict" } }
    # a log level without metrics
    settings = { log_level = "WARN" }
  }
  expect_failures = [var.bindings, var.settings]
}

run "refuses_a_standby_of_a_cluster_and_an_unknown_tracing" {
  command = plan
  variables {
    # a standby of a cluster
    bindings = { orders = { endpoint = "orders.cluster-abc123.eu-west-1.rds.amazonaws.com", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/orders/0123456789abcdef", standby = "keep" } }
    # an unknown tracing
    settings = { tracing = "On" }
  }
  expect_failures = [var.bindings, var.settings]
}

run "refuses_a_standby_of_a_global_cluster" {
  command = plan
  variables {
    # a standby of a global cluster
    bindings = { orders = { endpoint = "world.global-abc.global.rds.amazonaws.com", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/orders/0123456789abcdef", standby = "keep" } }
  }
  expect_failures = [var.bindings]
}

run "refuses_a_standby_beside_readers" {
  command = plan
  variables {
    # a standby beside readers
    bindings = { orders = { endpoint = "orders.abc123.eu-west-1.rds.amazonaws.com", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/orders/0123456789abcdef", standby = "keep", role = "readers" } }
  }
  expect_failures = [var.bindings]
}

run "refuses_two_bindings_of_one_group" {
  command = plan
  variables {
    # two bindings of one group
    bindings = {
      orders  = { endpoint = "orders.cluster-abc123.eu-west-1.rds.amazonaws.com", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/orders/0123456789abcdef" }
      billing = { endpoint = "orders.abc123.eu-west-1.rds.amazonaws.com", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/orders/0123456789abcdef" }
    }
  }
  expect_failures = [var.bindings]
}

run "refuses_a_boundary_on_a_role_that_is_yours" {
  command = plan
  variables {
    # a boundary on a role that is yours
    role_arn                 = "arn:aws:iam::123456789012:role/sync"
    permissions_boundary_arn = "arn:aws:iam::123456789012:policy/boundary"
  }
  expect_failures = [aws_lambda_function.this]
}

run "refuses_no_role_at_all" {
  command = plan
  variables {
    # no role at all
    create_role = false
  }
  expect_failures = [aws_lambda_function.this]
}

run "refuses_a_standby_of_a_shard_group_and_a_star_alone" {
  command = plan
  variables {
    # a standby of a shard group
    bindings = { orders = { endpoint = "wide.shardgrp-abc123.eu-west-1.rds.amazonaws.com", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/orders/0123456789abcdef", standby = "keep" } }
    # a star alone
    discovery_tag = "sync"
    settings      = { discovery_endpoints = ["*.rds.amazonaws.com", "*"] }
    # a topic for changes without alarms
    alarms = { enabled = false, change_topic_arns = ["arn:aws:sns:eu-west-1:123456789012:changes"] }
  }
  expect_failures = [var.bindings, var.settings, var.alarms]
}

run "refuses_a_standby_of_a_cluster_in_china_and_a_nameserver_in_brackets_with_port_0" {
  command = plan
  variables {
    # a standby of a cluster in china
    bindings = { orders = { endpoint = "orders.cluster-abc123.rds.cn-north-1.amazonaws.com.cn", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/orders/0123456789abcdef", standby = "keep" } }
    # a nameserver in brackets with port 0
    settings = { nameservers = ["[fd00::2]:0"] }
  }
  expect_failures = [var.bindings, var.settings]
}

run "refuses_a_reader_endpoint_in_china_and_a_nameserver_in_brackets_with_port_65536" {
  command = plan
  variables {
    # a reader endpoint in china
    bindings = { orders = { endpoint = "Orders.cluster-ro-abc123.rds.cn-north-1.amazonaws.com.cn.", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/orders/0123456789abcdef" } }
    # a nameserver in brackets with port 65536
    settings = { nameservers = ["[fd00::2]:65536"] }
  }
  expect_failures = [var.bindings, var.settings]
}

run "refuses_a_name_of_one_label_among_the_discovery_endpoints" {
  command = plan
  variables {
    discovery_tag = "sync"
    settings      = { discovery_endpoints = ["rds"] }
  }
  expect_failures = [var.settings]
}

run "refuses_a_star_within_a_name_among_the_discovery_endpoints" {
  command = plan
  variables {
    discovery_tag = "sync"
    settings      = { discovery_endpoints = ["a.*.example.com"] }
  }
  expect_failures = [var.settings]
}

run "refuses_a_star_without_a_dot_among_the_discovery_endpoints" {
  command = plan
  variables {
    discovery_tag = "sync"
    settings      = { discovery_endpoints = ["*example.com"] }
  }
  expect_failures = [var.settings]
}

run "refuses_an_empty_name_among_the_discovery_endpoints" {
  command = plan
  variables {
    discovery_tag = "sync"
    settings      = { discovery_endpoints = [""] }
  }
  expect_failures = [var.settings]
}

run "refuses_a_name_that_begins_with_a_dot_among_the_discovery_endpoints" {
  command = plan
  variables {
    discovery_tag = "sync"
    settings      = { discovery_endpoints = [".example.com"] }
  }
  expect_failures = [var.settings]
}

run "refuses_a_label_of_64_characters_among_the_discovery_endpoints" {
  command = plan
  variables {
    discovery_tag = "sync"
    settings      = { discovery_endpoints = ["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example.com"] }
  }
  expect_failures = [var.settings]
}

run "refuses_a_name_of_254_characters_among_the_discovery_endpoints" {
  command = plan
  variables {
    discovery_tag = "sync"
    settings      = { discovery_endpoints = ["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"] }
  }
  expect_failures = [var.settings]
}

run "refuses_a_suffix_with_a_space_among_the_discovery_endpoints" {
  command = plan
  variables {
    discovery_tag = "sync"
    settings      = { discovery_endpoints = ["*.example.com "] }
  }
  expect_failures = [var.settings]
}

run "refuses_a_suffix_of_nothing_among_the_discovery_endpoints" {
  command = plan
  variables {
    discovery_tag = "sync"
    settings      = { discovery_endpoints = ["*."] }
  }
  expect_failures = [var.settings]
}

run "refuses_discovery_endpoints_without_a_tag" {
  command = plan
  variables {
    settings = { discovery_endpoints = ["*.rds.amazonaws.com"] }
  }
  expect_failures = [aws_lambda_function.this]
}

run "refuses_a_path_of_a_role_that_is_yours" {
  command = plan
  variables {
    role_arn  = "arn:aws:iam::123456789012:role/sync"
    role_path = "/service/"
  }
  expect_failures = [aws_lambda_function.this]
}

run "refuses_a_group_s_arn_with_one_part_too_many_and_a_path_without_slashes" {
  command = plan
  variables {
    # an arn with one part too many
    bindings = { orders = { endpoint = "orders.cluster-abc123.eu-west-1.rds.amazonaws.com", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/orders/0123456789abcdef:1" } }
    # a tag key of spaces
    discovery_tag = " "
    # a nameserver with a leading zero
    settings = { nameservers = ["10.0.0.2", "010.0.0.2"] }
    # a subnet that is a name
    vpc = { subnet_ids = ["private-a"], security_group_ids = ["sg-0a"] }
    # a path without slashes
    role_path = "service"
    # the arn of a log group
    log_group_name = "arn:aws:logs:eu-west-1:123456789012:log-group:/team/sync"
    # the id of a code signing configuration
    code_signing_config_arn = "csc-0123456789abcdefg"
  }
  expect_failures = [var.bindings, var.discovery_tag, var.settings, var.vpc, var.role_path, var.log_group_name, var.code_signing_config_arn]
}

run "refuses_a_group_s_arn_with_a_colon_in_its_name_and_a_path_without_its_last_slash" {
  command = plan
  variables {
    # a colon in the name
    bindings = { orders = { endpoint = "orders.cluster-abc123.eu-west-1.rds.amazonaws.com", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/or:ders/0123456789abcdef" } }
    # a nameserver whose last part has a leading zero
    settings = { nameservers = ["10.0.0.02:53"] }
    # a security group that is a name
    vpc = { subnet_ids = ["subnet-0a"], security_group_ids = ["sg-0a", "default"] }
    # a path without its last slash
    role_path = "/service"
  }
  expect_failures = [var.bindings, var.settings, var.vpc, var.role_path]
}

run "refuses_an_ipv6_address_with_a_dot_and_a_nameserver_with_a_leading_zero_in_ipv6" {
  command = plan
  variables {
    # an ipv6 address with a dot
    bindings = { orders = { endpoint = "fd00::1.", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/orders/0123456789abcdef" } }
    # a leading zero in ipv6
    settings = { nameservers = ["[::ffff:010.0.0.2]:53"] }
  }
  expect_failures = [var.bindings, var.settings]
}

run "refuses_a_nameserver_with_five_digits_in_ipv6" {
  command = plan
  variables {
    settings = { nameservers = ["0fd00::2"] }
  }
  expect_failures = [var.settings]
}
