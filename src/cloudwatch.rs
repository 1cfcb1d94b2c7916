//! The metrics, by `aws-sdk-cloudwatch`. Only this module knows it.

use std::time::{Duration, SystemTime};

use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricStat};

use crate::aws::{self, Bounded};
use crate::doctor::network::{InspectMetrics, Measured, Sums};
use crate::error::Error;

const HOUR: Duration = Duration::from_secs(3600);
/// The sums are of whole minutes, as the load balancer reports. A period of an hour would begin at a full hour.
const PERIOD_SECONDS: i32 = 60;

pub struct CloudWatch {
    client: Client,
    now: SystemTime,
}

impl CloudWatch {
    pub fn new(client: &Client, now: SystemTime) -> Self {
        let client = Client::from_conf(client.config().to_builder().interceptor(Bounded).build());
        Self { client, now }
    }
}

impl InspectMetrics for CloudWatch {
    async fn metrics(&self, load_balancer: &str, services: &[String]) -> Result<Sums, Error> {
        // CloudWatch knows a load balancer by the end of its ARN.
        let name = load_balancer.split_once(":loadbalancer/").map_or(load_balancer, |(_, name)| name);
        let of_load_balancer = Measured::OF_LOAD_BALANCER
            .map(|measured| (measured, "AWS/NetworkELB", "LoadBalancer", name.to_owned()));
        let of_services = services
            .iter()
            .map(|id| (Measured::NEW_CONNECTIONS, "AWS/PrivateLinkServices", "Service Id", id.clone()));
        let queried: Vec<_> = of_load_balancer.into_iter().chain(of_services).collect();
        let queries = queried.iter().enumerate().map(|(index, (measured, namespace, dimension, value))| {
            let dimension = Dimension::builder().name(*dimension).value(value).build();
            let metric =
                Metric::builder().namespace(*namespace).metric_name(measured.0).dimensions(dimension);
            let sum = MetricStat::builder().metric(metric.build()).period(PERIOD_SECONDS).stat("Sum").build();
            MetricDataQuery::builder().id(format!("m{index}")).metric_stat(sum).build()
        });
        let call = self.client.get_metric_data().set_metric_data_queries(Some(queries.collect()));
        let call = call.start_time(DateTime::from(self.now - HOUR)).end_time(DateTime::from(self.now));
        let doing = "read the metrics".to_owned();
        let answer = aws::call(doing, "cloudwatch:GetMetricData", call.send()).await?;
        let mut sums = Sums::new();
        for result in answer.metric_data_results() {
            let index =
                result.id().and_then(|id| id.strip_prefix('m')).and_then(|id| id.parse::<usize>().ok());
            let Some((measured, ..)) = index.and_then(|index| queried.get(index)) else { continue };
            if !result.values().is_empty() {
                let sum: f64 = result.values().iter().sum();
                *sums.entry(*measured).or_default() += count(sum);
            }
        }
        Ok(sums)
    }
}

/// A sum of counts is a whole number.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float's cast saturates")]
fn count(sum: f64) -> u64 {
    sum.round() as u64
}
