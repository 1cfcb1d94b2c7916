//! The EC2 and CloudWatch APIs, as far as the doctor reads them. A call without an answer here is denied.

use std::collections::BTreeMap;

use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;

use super::estate::LOAD_BALANCER;
use super::lattice::Lattice;

pub const SERVICE: &str = "vpce-svc-0123456789abcdef0";

/// The answers of these APIs.
#[derive(Clone, Debug, Default)]
pub struct NetworkApis {
    /// EC2's answer to each action, in its XML without the root.
    pub ec2: BTreeMap<&'static str, String>,
    /// The sum of each metric. `None` denies.
    pub metrics: Option<BTreeMap<&'static str, f64>>,
    /// VPC Lattice and RAM. `None` denies.
    pub lattice: Option<Lattice>,
    /// What was asked: EC2's forms, and CloudWatch's bodies as text.
    pub asked: Vec<String>,
}

fn list(name: &str, items: &[String]) -> String {
    let items: String = items.iter().map(|item| format!("<item>{item}</item>")).collect();
    format!("<{name}>{items}</{name}>")
}

/// A rule for the database's port, from or to a range or a group.
pub fn rule(group: &str, is_egress: bool, peer: &str) -> String {
    let peer = match peer.starts_with("sg-") {
        true => format!("<referencedGroupInfo><groupId>{peer}</groupId></referencedGroupInfo>"),
        false => format!("<cidrIpv4>{peer}</cidrIpv4>"),
    };
    format!(
        "<groupId>{group}</groupId><isEgress>{is_egress}</isEgress><ipProtocol>tcp</ipProtocol>\
         <fromPort>5432</fromPort><toPort>5432</toPort>{peer}"
    )
}

impl NetworkApis {
    /// The network of the default estate, without a fault and without a path by VPC Lattice.
    pub fn without_faults() -> Self {
        let subnet = |id: &str, zone: &str, third: u8| {
            format!(
                "<subnetId>{id}</subnetId><vpcId>vpc-1</vpcId><cidrBlock>10.0.{third}.0/24</cidrBlock>\
                 <availabilityZone>us-east-1{zone}</availabilityZone>\
                 <availabilityZoneId>use1-az{}</availabilityZoneId>",
                if zone == "a" { 4 } else { 6 }
            )
        };
        let entry = |is_egress: bool| {
            format!(
                "<ruleNumber>100</ruleNumber><protocol>-1</protocol><ruleAction>allow</ruleAction>\
                 <egress>{is_egress}</egress><cidrBlock>0.0.0.0/0</cidrBlock>"
            )
        };
        let subnets = ["subnet-a", "subnet-b", "subnet-db-a", "subnet-db-b"];
        let associated = subnets.map(|id| format!("<subnetId>{id}</subnetId>"));
        let acl = format!(
            "<networkAclId>acl-1</networkAclId>{}{}",
            list("entrySet", &[entry(true), entry(false)]),
            list("associationSet", &associated)
        );
        let table = "<routeTableId>rtb-1</routeTableId><vpcId>vpc-1</vpcId><routeSet><item>\
                     <destinationCidrBlock>10.0.0.0/16</destinationCidrBlock><gatewayId>local</gatewayId>\
                     <state>active</state></item></routeSet><associationSet><item><main>true</main></item></associationSet>";
        let service = format!(
            "<serviceId>{SERVICE}</serviceId><serviceName>com.amazonaws.vpce.us-east-1.{SERVICE}</serviceName>\
             <serviceState>Available</serviceState><acceptanceRequired>true</acceptanceRequired>\
             <networkLoadBalancerArnSet><item>{LOAD_BALANCER}</item></networkLoadBalancerArnSet>"
        );
        let other = service.replace(SERVICE, "vpce-svc-other").replace("/net/orders/", "/net/other/");
        let ec2 = [
            ("DescribeVpcEndpointServiceConfigurations", list("serviceConfigurationSet", &[service, other])),
            (
                "DescribeVpcEndpointServicePermissions",
                list("allowedPrincipals", &["<principal>arn:aws:iam::210987654321:root</principal>".into()]),
            ),
            ("DescribeVpcEndpointConnections", connections("available")),
            (
                "DescribeSecurityGroupRules",
                list("securityGroupRuleSet", &[rule("sg-database", false, "10.0.0.0/16")]),
            ),
            (
                "DescribeSubnets",
                list(
                    "subnetSet",
                    &[
                        subnet("subnet-a", "a", 101),
                        subnet("subnet-b", "b", 102),
                        subnet("subnet-db-a", "a", 1),
                        subnet("subnet-db-b", "b", 2),
                    ],
                ),
            ),
            ("DescribeNetworkAcls", list("networkAclSet", &[acl])),
            ("DescribeRouteTables", list("routeTableSet", &[table.to_owned()])),
        ];
        let metrics = BTreeMap::from([("NewFlowCount", 120.0), ("NewConnections", 100.0)]);
        let lattice = Some(Lattice::default());
        Self { ec2: ec2.into(), metrics: Some(metrics), lattice, asked: Vec::new() }
    }

    /// Sets the security groups' rules.
    pub fn rules(&mut self, rules: &[String]) {
        self.ec2.insert("DescribeSecurityGroupRules", list("securityGroupRuleSet", rules));
    }

    /// The answer of EC2.
    pub(super) fn ec2(&mut self, action: &str, form: &str) -> Response<Full<Bytes>> {
        self.asked.push(form.to_owned());
        let (status, body) = match self.ec2.get(action) {
            Some(answer) => {
                let namespace = "http://ec2.amazonaws.com/doc/2016-11-15/";
                (200, format!("<{action}Response xmlns=\"{namespace}\">{answer}</{action}Response>"))
            }
            None => {
                let error = "<Code>UnauthorizedOperation</Code><Message>You are not authorized to perform this \
                             operation.</Message>";
                (
                    403,
                    format!(
                        "<Response><Errors><Error>{error}</Error></Errors><RequestID>0</RequestID></Response>"
                    ),
                )
            }
        };
        Response::builder().status(status).body(Full::from(body)).expect("a valid response")
    }

    /// The answer of CloudWatch, in CBOR. The queries are answered in the order of their metrics in the body.
    pub(super) fn cloudwatch(&mut self, body: &[u8]) -> Response<Full<Bytes>> {
        let text = String::from_utf8_lossy(body).into_owned();
        let answer = match &self.metrics {
            None => map(&[
                ("__type", cbor_text("com.amazonaws.cloudwatch#AccessDeniedException")),
                ("message", cbor_text("not authorized to perform: cloudwatch:GetMetricData")),
            ]),
            Some(metrics) => {
                let names = [
                    "NewFlowCount",
                    "TCP_ELB_Reset_Count",
                    "TCP_Target_Reset_Count",
                    "TCP_Client_Reset_Count",
                    "SecurityGroupBlockedFlowCount_Inbound_TCP",
                    "SecurityGroupBlockedFlowCount_Outbound_TCP",
                    "NewConnections",
                ];
                let mut asked: Vec<(usize, &str)> =
                    names.iter().flat_map(|name| text.match_indices(name)).collect();
                asked.sort_unstable();
                let results: Vec<Vec<u8>> = asked
                    .iter()
                    .enumerate()
                    .map(|(index, (_, name))| {
                        let values: Vec<Vec<u8>> =
                            metrics.get(name).map(|sum| float(*sum)).into_iter().collect();
                        map(&[("Id", cbor_text(&format!("m{index}"))), ("Values", array(&values))])
                    })
                    .collect();
                map(&[("MetricDataResults", array(&results))])
            }
        };
        self.asked.push(text);
        let status = if self.metrics.is_some() { 200 } else { 403 };
        let reply = Response::builder().status(status).header("smithy-protocol", "rpc-v2-cbor");
        reply.header("content-type", "application/cbor").body(Full::from(answer)).expect("a valid response")
    }
}

/// A vendor's endpoint in this state.
pub fn connections(state: &str) -> String {
    let item = format!(
        "<serviceId>{SERVICE}</serviceId><vpcEndpointId>vpce-1</vpcEndpointId>\
         <vpcEndpointOwner>210987654321</vpcEndpointOwner><vpcEndpointState>{state}</vpcEndpointState>"
    );
    list("vpcEndpointConnectionSet", &[item])
}

/// A head of CBOR (RFC 8949, section 3): the major type and a length.
fn head(major: u8, length: usize) -> Vec<u8> {
    let [.., high, low] = length.to_be_bytes();
    vec![major << 5 | 25, high, low]
}

fn cbor_text(text: &str) -> Vec<u8> {
    [head(3, text.len()), text.as_bytes().to_vec()].concat()
}

fn float(number: f64) -> Vec<u8> {
    [vec![0xfb], number.to_be_bytes().to_vec()].concat()
}

fn array(items: &[Vec<u8>]) -> Vec<u8> {
    [head(4, items.len()), items.concat()].concat()
}

fn map(pairs: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let content: Vec<Vec<u8>> =
        pairs.iter().map(|(key, value)| [cbor_text(key), value.clone()].concat()).collect();
    [head(5, pairs.len()), content.concat()].concat()
}
