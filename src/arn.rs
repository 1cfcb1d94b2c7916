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
    let name = arn.split('/').nth(1).filter(|_| arn.starts_with("arn:"));
    name.unwrap_or(arn)
}

fn part(arn: &str, index: usize) -> Option<&str> {
    arn.split(':').nth(index).filter(|part| arn.starts_with("arn:") && !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_arn_has_parts() {
        let group = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/orders/0123456789abcdef";
        assert_eq!((name(group), region(group)), ("orders", Some("us-east-1")));
        assert_eq!(account(group), Some("123456789012"));
        let tag = "every target group tagged acme/rds-endpoint";
        assert_eq!((name(tag), account(tag)), (tag, None));
        assert_eq!(account("123456789012"), None);
    }
}
