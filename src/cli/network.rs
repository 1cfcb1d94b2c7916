//! The network's APIs, behind the feature `network`.

use std::time::SystemTime;

use aws_config::SdkConfig;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::cloudwatch::CloudWatch;
use crate::doctor::network::{self, Network};
use crate::doctor::{CheckContext, Fact, Facts, Finding, LoadBalancer};
use crate::ec2::Ec2;
use crate::ram::Ram;
use crate::vpclattice::Lattice;

pub struct NetworkApis {
    ec2: Ec2,
    cloudwatch: CloudWatch,
    lattice: Lattice,
    ram: Ram,
    /// The account's resource configurations, read once for all bindings.
    configurations: OnceCell<Fact<Vec<network::ResourceConfiguration>>>,
    principal: Option<String>,
}

impl NetworkApis {
    pub fn new(sdk: &SdkConfig, now: SystemTime, principal: Option<String>) -> Self {
        Self {
            ec2: Ec2::new(&aws_sdk_ec2::Client::new(sdk)),
            cloudwatch: CloudWatch::new(&aws_sdk_cloudwatch::Client::new(sdk), now),
            lattice: Lattice::new(&aws_sdk_vpclattice::Client::new(sdk)),
            ram: Ram::new(&aws_sdk_ram::Client::new(sdk)),
            configurations: OnceCell::new(),
            principal,
        }
    }

    pub async fn read(&self, facts: &Facts, load_balancer: &LoadBalancer, deadline: Instant) -> Network {
        network::read_network(&self.ec2, &self.cloudwatch, facts, load_balancer, deadline).await
    }

    pub async fn findings(&self, context: CheckContext<'_>, deadline: Instant) -> Vec<Finding> {
        let context = CheckContext { principal: self.principal.as_deref(), ..context };
        let (mut findings, of_lattice) =
            tokio::join!(self.around_load_balancers(context, deadline), self.by_lattice(context, deadline));
        findings.extend(of_lattice);
        findings
    }

    async fn by_lattice(&self, context: CheckContext<'_>, deadline: Instant) -> Vec<Finding> {
        let (lattice, shares, network) = (&self.lattice, &self.ram, &self.ec2);
        let reader = network::LatticeReader { lattice, shares, network, deadline };
        let account = context.binding.target_group.account();
        let configurations = self.configurations.get_or_init(|| reader.configurations(account)).await;
        let paths = match configurations {
            Ok(configurations) => Ok(reader.paths(context, configurations).await),
            Err(unread) => Err(unread.clone()),
        };
        network::lattice_findings(context, &paths)
    }

    async fn around_load_balancers(&self, context: CheckContext<'_>, deadline: Instant) -> Vec<Finding> {
        let mut findings = Vec::new();
        let attached = context.facts.load_balancers.iter().flatten();
        for attached in attached.filter(|attached| attached.load_balancer.kind == "network") {
            let network = self.read(context.facts, &attached.load_balancer, deadline).await;
            findings.extend(network::network_findings(context, attached, &network));
        }
        findings
    }
}
