//! The `moto` server: an AWS in Python, with its own idea of the APIs.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};

use aws_sdk_elasticloadbalancingv2::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_elasticloadbalancingv2::types::{ProtocolEnum, TargetDescription, TargetTypeEnum};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub struct Moto {
    pub url: String,
    address: String,
    process: Child,
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An Aurora cluster of two members behind a target group.
pub struct Database {
    pub cluster: String,
    pub endpoint: String,
    pub members: [Member; 2],
    pub group: String,
    #[cfg_attr(
        not(feature = "network"),
        expect(dead_code, reason = "only the tests of the network read it")
    )]
    pub subnets: Vec<String>,
    #[cfg_attr(
        not(feature = "network"),
        expect(dead_code, reason = "only the tests of the network read it")
    )]
    pub security_group: String,
}

pub struct Member {
    pub name: String,
    pub endpoint: String,
}

macro_rules! client {
    ($sdk:ident, $url:expr) => {
        $sdk::Client::from_conf(
            $sdk::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new("us-east-1"))
                .credentials_provider(Credentials::new("AKIDEXAMPLE", "secret", None, None, "tests"))
                .endpoint_url($url)
                .build(),
        )
    };
}

impl Moto {
    /// The server of all tests that run at the same time; it ends with the last of them.
    pub fn shared() -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Moto>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return Some(running);
        }
        let started = Arc::new(Self::start(&[])?);
        *shared = Arc::downgrade(&started);
        Some(started)
    }

    /// A server of its own, or `None` where moto is not installed.
    pub fn start(variables: &[(&str, &str)]) -> Option<Self> {
        let program = super::installed("moto_server")?;
        let mut process = Command::new(&program)
            .args(["--host", "127.0.0.1", "--port", "0"])
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
        let mut lines = BufReader::new(process.stderr.take().expect("piped")).lines().map_while(Result::ok);
        let mut said = Vec::new();
        let address = lines.by_ref().find_map(|line| {
            let address = line.split_once("http://").map(|(_, address)| address.trim().to_owned());
            said.push(line);
            address
        });
        let address = address.unwrap_or_else(|| panic!("moto does not start: {}", said.join("\n")));
        // A full pipe without a reader would stop it.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { url: format!("http://{address}"), address, process })
    }

    pub fn load_balancing(&self) -> aws_sdk_elasticloadbalancingv2::Client {
        client!(aws_sdk_elasticloadbalancingv2, &self.url)
    }

    #[cfg(feature = "network")]
    pub fn ram(&self) -> aws_sdk_ram::Client {
        client!(aws_sdk_ram, &self.url)
    }

    fn rds(&self) -> aws_sdk_rds::Client {
        client!(aws_sdk_rds, &self.url)
    }

    /// Creates a cluster of this name, with the members `NAME-1`, the writer, and `NAME-2`, and a group
    /// that holds these addresses.
    pub async fn database(&self, name: &str, targets: &[&str]) -> Database {
        let vpc = self.ec2("Action=CreateVpc&CidrBlock=10.0.0.0/16", "vpcId").await;
        let mut subnets = Vec::new();
        for (number, zone) in [(1, "us-east-1a"), (2, "us-east-1b")] {
            let create = format!(
                "Action=CreateSubnet&VpcId={vpc}&CidrBlock=10.0.{number}.0/24&AvailabilityZone={zone}"
            );
            subnets.push(self.ec2(&create, "subnetId").await);
        }
        let create =
            format!("Action=CreateSecurityGroup&GroupName={name}&GroupDescription={name}&VpcId={vpc}");
        let security_group = self.ec2(&create, "groupId").await;
        let rds = self.rds();
        rds.create_db_subnet_group()
            .db_subnet_group_name(name)
            .db_subnet_group_description(name)
            .set_subnet_ids(Some(subnets.clone()))
            .send()
            .await
            .unwrap();
        let cluster = rds
            .create_db_cluster()
            .db_cluster_identifier(name)
            .engine("aurora-postgresql")
            .master_username("root")
            .master_user_password("password")
            .db_subnet_group_name(name)
            .vpc_security_group_ids(&security_group)
            .send()
            .await
            .unwrap();
        let endpoint = cluster.db_cluster().and_then(|cluster| cluster.endpoint()).expect("an endpoint");
        let (_, zone) = endpoint.split_once(".cluster-").expect("a cluster's endpoint");
        let mut members = Vec::new();
        for number in 1..=2 {
            let member = format!("{name}-{number}");
            rds.create_db_instance()
                .db_instance_identifier(&member)
                .db_instance_class("db.r6g.large")
                .engine("aurora-postgresql")
                .db_cluster_identifier(name)
                .db_subnet_group_name(name)
                .vpc_security_group_ids(&security_group)
                .send()
                .await
                .unwrap();
            // On AWS, a cluster and its instances share a zone. moto gives each cluster another one.
            let endpoint = format!("{member}.{zone}");
            members.push(Member { name: member, endpoint });
        }
        let group = self
            .load_balancing()
            .create_target_group()
            .name(name)
            .protocol(ProtocolEnum::Tcp)
            .port(5432)
            .vpc_id(vpc)
            .target_type(TargetTypeEnum::Ip)
            .send()
            .await
            .unwrap();
        let database = Database {
            cluster: name.to_owned(),
            endpoint: endpoint.to_owned(),
            members: members.try_into().ok().expect("two members"),
            subnets,
            security_group,
            group: group.target_groups()[0].target_group_arn().expect("an ARN").to_owned(),
        };
        for address in targets {
            self.register(&database, &format!("{address}:5432")).await;
        }
        database
    }

    pub async fn register(&self, database: &Database, target: &str) {
        let target: SocketAddr = target.parse().unwrap();
        let target = TargetDescription::builder().id(target.ip().to_string()).port(target.port().into());
        let register = self.load_balancing().register_targets().target_group_arn(&database.group);
        register.targets(target.build()).send().await.unwrap();
    }

    /// The group's targets in one line, in order.
    pub async fn targets(&self, database: &Database) -> String {
        let health = self.load_balancing().describe_target_health().target_group_arn(&database.group);
        let health = health.send().await.unwrap();
        let targets = health.target_health_descriptions().iter().filter_map(|target| target.target());
        let mut targets: Vec<String> = targets
            .map(|target| {
                format!("{}:{}", target.id().unwrap_or_default(), target.port().unwrap_or_default())
            })
            .collect();
        targets.sort();
        targets.join(" ")
    }

    /// Makes this member the cluster's writer, for the RDS API.
    pub async fn fail_over(&self, database: &Database, member: usize) {
        let failover = self.rds().failover_db_cluster().db_cluster_identifier(&database.cluster);
        failover.target_db_instance_identifier(&database.members[member].name).send().await.unwrap();
    }

    pub async fn delete_cluster(&self, database: &Database) {
        let rds = self.rds();
        for member in &database.members {
            let delete = rds.delete_db_instance().db_instance_identifier(&member.name);
            delete.skip_final_snapshot(true).send().await.unwrap();
        }
        let delete = rds.delete_db_cluster().db_cluster_identifier(&database.cluster);
        delete.skip_final_snapshot(true).send().await.unwrap();
    }

    pub async fn delete_group(&self, database: &Database) {
        let delete = self.load_balancing().delete_target_group().target_group_arn(&database.group);
        delete.send().await.unwrap();
    }

    /// Calls the EC2 API, and returns the text of this element of the answer.
    pub async fn ec2(&self, form: &str, element: &str) -> String {
        let form = format!("{form}&Version=2016-11-15");
        let request = format!(
            "POST / HTTP/1.0\r\nHost: ec2.us-east-1.amazonaws.com\r\nContent-Length: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/us-east-1/ec2/aws4_request, \
             SignedHeaders=host, Signature=0\r\n\r\n{form}",
            form.len()
        );
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        let found = reply.split_once(&format!("<{element}>")).and_then(|(_, rest)| rest.split_once("</"));
        found.unwrap_or_else(|| panic!("no {element} in {reply}")).0.to_owned()
    }
}
