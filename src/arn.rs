//! The parts of an ARN: `arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE`.

pub fn partition(arn: &str) -> Option<&str> {
    part(arn, 1)
}

pub fn region(arn: &str) -> Option<&str> {
    part(arn, 3)
}

pub fn account(arn: &str) -> Option<&str> {
    part(arn, 4)
}

/// The name in a resource of the form `TYPE/NAME/ID`. Any other text is its own name.
pub fn name(arn: &str) -> &str {
    arn.split('/').nth(1).unwrap_or(arn)
}

fn part(arn: &str, index: usize) -> Option<&str> {
    arn.split(':').nth(index).filter(|part| arn.starts_with("arn:") && !part.is_empty())
}
