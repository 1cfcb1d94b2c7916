use super::*;

async fn rds(aws: &FakeAws) -> Rds {
    Rds::new(client!(aws_sdk_rds, aws))
}

#[tokio::test]
async fn cluster_lists_its_members_and_its_writer() {
    let cluster = rds(&FakeAws::new()).await.cluster("orders").await.unwrap().unwrap();
    assert_eq!(cluster.other_writer("orders-2"), Some("orders-1"));
    assert_eq!(cluster.other_writer("orders-1"), None);
}

#[tokio::test]
async fn cluster_reports_a_failover_in_progress() {
    let aws = FakeAws::new();
    assert!(!rds(&aws).await.cluster("orders").await.unwrap().unwrap().is_failing_over);
    aws.state().failing_over = true;
    assert!(rds(&aws).await.cluster("orders").await.unwrap().unwrap().is_failing_over);
}

#[tokio::test]
async fn missing_cluster_or_instance_is_none() {
    let rds = rds(&FakeAws::new()).await;
    assert_eq!(rds.cluster("billing").await.unwrap(), None);
    assert_eq!(rds.instance("billing").await.unwrap(), None);
}

#[tokio::test]
async fn instance_has_its_own_endpoint() {
    let aws = FakeAws::new();
    let member = rds(&aws).await.instance("orders-2").await.unwrap().unwrap();
    let endpoint = Some("orders-2.abc123.us-east-1.rds.amazonaws.com".to_owned());
    assert_eq!(
        member,
        Instance {
            endpoint,
            status: "storage-optimization".to_owned(),
            is_multi_az: false,
            cluster: Some("orders".to_owned())
        }
    );
    let alone = testkit::Instance { multi_az: true, ..Default::default() };
    aws.state().instances.insert("billing".to_owned(), alone);
    let alone = rds(&aws).await.instance("billing").await.unwrap().unwrap();
    assert_eq!(
        alone,
        Instance { status: "storage-optimization".to_owned(), is_multi_az: true, ..Instance::default() }
    );
}

#[tokio::test]
async fn missing_rds_permission_is_named() {
    let aws = FakeAws::new();
    aws.always(Action::DescribeDBClusters, Some(ApiFault::Denied));
    let message_text = rds(&aws).await.cluster("orders").await.unwrap_err().explain();
    assert!(message_text.contains("allow rds:DescribeDBClusters"), "{message_text}");
    aws.always(Action::DescribeDBInstances, Some(ApiFault::Denied));
    let message_text = rds(&aws).await.instance("orders-2").await.unwrap_err().explain();
    assert!(message_text.contains("allow rds:DescribeDBInstances"), "{message_text}");
}
