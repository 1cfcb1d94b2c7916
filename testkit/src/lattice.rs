//! The VPC Lattice and RAM APIs, as far as the doctor reads them and its commands change them.

use std::collections::BTreeSet;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Method, Response};
use serde_json::{Value, json};

pub const CONFIGURATION: &str = "rcfg-0123456789abcdef0";
pub const GATEWAY: &str = "rgw-0123456789abcdef0";
const PREFIX: &str = "arn:aws:vpc-lattice:us-east-1:123456789012:resourceconfiguration/";

/// What both APIs know.
#[derive(Clone, Debug, Default)]
pub struct Lattice {
    /// The resource configurations, in the API's JSON. The list is one page for each.
    pub configurations: Vec<Value>,
    pub gateways: Vec<Value>,
    pub shares: Vec<Share>,
    /// The actions that are denied, such as `GetResourceGateway`.
    pub denied: BTreeSet<&'static str>,
    /// The calls, as `Action identifier`.
    pub calls: Vec<String>,
}

/// A resource share.
#[derive(Clone, Debug)]
pub struct Share {
    pub arn: String,
    pub name: String,
    pub resources: Vec<String>,
    /// The principals and the states of their associations.
    pub principals: Vec<(String, String)>,
}

/// A resource configuration for the name, by the gateway.
pub fn configuration(id: &str, name: &str) -> Value {
    json!({
        "id": id,
        "name": "orders",
        "arn": format!("{PREFIX}{id}"),
        "type": "SINGLE",
        "status": "ACTIVE",
        "resourceGatewayId": GATEWAY,
        "portRanges": ["5432"],
        "protocol": "TCP",
        "allowAssociationToShareableServiceNetwork": false,
        "amazonManaged": false,
        "resourceConfigurationDefinition": {"dnsResource": {"domainName": name, "ipAddressType": "IPV4"}},
    })
}

impl Lattice {
    /// A path to the name that the account has accepted, and no fault.
    pub fn without_faults(name: &str, account: &str) -> Self {
        let gateway = json!({
            "id": GATEWAY,
            "status": "ACTIVE",
            "securityGroupIds": ["sg-gateway"],
            "subnetIds": ["subnet-a", "subnet-b"],
        });
        let mut lattice = Self {
            configurations: vec![configuration(CONFIGURATION, name)],
            gateways: vec![gateway],
            ..Self::default()
        };
        let arn = format!("{PREFIX}{CONFIGURATION}");
        lattice.shares.push(lattice.share("orders", &[arn], &[account.to_owned()]));
        lattice.shares[0].principals[0].1 = "ASSOCIATED".to_owned();
        lattice
    }

    /// The share is new, and the accounts are invited.
    fn share(&self, name: &str, resources: &[String], accounts: &[String]) -> Share {
        let number = self.shares.len();
        Share {
            arn: format!(
                "arn:aws:ram:us-east-1:123456789012:resource-share/12345678-1234-1234-1234-{number:012}"
            ),
            name: name.to_owned(),
            resources: resources.to_vec(),
            principals: accounts.iter().map(|account| (account.clone(), "ASSOCIATING".to_owned())).collect(),
        }
    }
}

/// Whether the request is one of these APIs.
pub(super) fn is_for(path: &str) -> bool {
    action(&Method::GET, path).is_some()
}

fn action(method: &Method, path: &str) -> Option<&'static str> {
    let mut parts = path.split('/').skip(1);
    Some(match (parts.next()?, parts.next()) {
        ("resourceconfigurations", None) => "ListResourceConfigurations",
        ("resourceconfigurations", Some(_)) if method == Method::PATCH => "UpdateResourceConfiguration",
        ("resourceconfigurations", Some(_)) => "GetResourceConfiguration",
        ("resourcegateways", Some(_)) => "GetResourceGateway",
        ("getresourceshareassociations", None) => "GetResourceShareAssociations",
        ("createresourceshare", None) => "CreateResourceShare",
        ("associateresourceshare", None) => "AssociateResourceShare",
        ("disassociateresourceshare", None) => "DisassociateResourceShare",
        ("getresourceshareinvitations", None) => "GetResourceShareInvitations",
        ("acceptresourceshareinvitation", None) => "AcceptResourceShareInvitation",
        _ => return None,
    })
}

/// The answer to a call. Without a `Lattice` all is denied.
pub(super) fn answer(
    lattice: Option<&mut Lattice>,
    method: &Method,
    uri: &hyper::Uri,
    body: &[u8],
) -> Response<Full<Bytes>> {
    let action = action(method, uri.path()).unwrap_or_default();
    let result = match lattice {
        Some(lattice) if !lattice.denied.contains(action) => {
            let id = uri.path().rsplit('/').next().unwrap_or_default();
            let id = if uri.path().matches('/').count() > 1 { id } else { "" };
            lattice.calls.push(format!("{action} {id}").trim_end().to_owned());
            let request = serde_json::from_slice(body).unwrap_or(Value::Null);
            lattice.call(action, id, uri.query().unwrap_or_default(), &request)
        }
        _ => Err((403, "AccessDeniedException")),
    };
    let reply = Response::builder().header("content-type", "application/json");
    let (reply, body) = match result {
        Ok(body) => (reply.status(200), body),
        Err((status, code)) => {
            let reply = reply.status(status).header("x-amzn-errortype", code);
            (reply, json!({"message": format!("{action}: {code}")}))
        }
    };
    reply.body(Full::from(body.to_string())).expect("a valid response")
}

type Answer = Result<Value, (u16, &'static str)>;
const NOT_FOUND: (u16, &str) = (404, "ResourceNotFoundException");

/// The texts of a list in the request.
fn texts(request: &Value, key: &str) -> Vec<String> {
    let list = request[key].as_array().into_iter().flatten();
    list.filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

impl Lattice {
    fn call(&mut self, action: &str, id: &str, query: &str, request: &Value) -> Answer {
        let is_it = |one: &&Value| one["id"] == id;
        match action {
            "ListResourceConfigurations" => {
                let index = query.strip_prefix("nextToken=").map_or(0, |token| token.parse().expect("ours"));
                let mut page =
                    json!({"items": self.configurations.iter().skip(index).take(1).collect::<Vec<_>>()});
                if index + 1 < self.configurations.len() {
                    page["nextToken"] = json!((index + 1).to_string());
                }
                Ok(page)
            }
            "GetResourceConfiguration" => self.configurations.iter().find(is_it).cloned().ok_or(NOT_FOUND),
            "UpdateResourceConfiguration" => {
                let found = self.configurations.iter_mut().find(|one| one["id"] == id).ok_or(NOT_FOUND)?;
                for (key, value) in request.as_object().into_iter().flatten() {
                    found[key] = value.clone();
                }
                Ok(found.clone())
            }
            "GetResourceGateway" => self.gateways.iter().find(is_it).cloned().ok_or(NOT_FOUND),
            _ => self.call_ram(action, request),
        }
    }

    fn call_ram(&mut self, action: &str, request: &Value) -> Answer {
        let arn = request["resourceShareArn"].as_str().unwrap_or_default();
        let principals = texts(request, "principals");
        match action {
            "GetResourceShareAssociations" => self.associations(request),
            "CreateResourceShare" => {
                let name = request["name"].as_str().unwrap_or_default();
                let share = self.share(name, &texts(request, "resourceArns"), &principals);
                self.shares.push(share);
                Ok(json!({}))
            }
            "AssociateResourceShare" | "DisassociateResourceShare" => {
                let state = if action.starts_with('A') { "ASSOCIATING" } else { "DISASSOCIATED" };
                let share = self.shares.iter_mut().find(|share| share.arn == arn);
                let share = share.ok_or((400, "UnknownResourceException"))?;
                share.principals.retain(|(principal, _)| !principals.contains(principal));
                share.principals.extend(principals.into_iter().map(|it| (it, state.to_owned())));
                Ok(json!({}))
            }
            "GetResourceShareInvitations" => {
                let arns = texts(request, "resourceShareArns");
                let shares = self.shares.iter().filter(|share| arns.contains(&share.arn));
                let invitations = shares.flat_map(|share| {
                    share.principals.iter().map(|(_, state)| {
                        let status = if state == "ASSOCIATING" { "PENDING" } else { "EXPIRED" };
                        json!({"resourceShareInvitationArn": format!("{}/invitation", share.arn), "status": status})
                    })
                });
                Ok(json!({"resourceShareInvitations": invitations.collect::<Vec<_>>()}))
            }
            "AcceptResourceShareInvitation" => {
                let invitation = request["resourceShareInvitationArn"].as_str().unwrap_or_default();
                let share =
                    self.shares.iter_mut().find(|share| invitation == format!("{}/invitation", share.arn));
                let share = share.ok_or((400, "ResourceShareInvitationArnNotFoundException"))?;
                share.principals.iter_mut().for_each(|(_, state)| "ASSOCIATED".clone_into(state));
                Ok(json!({}))
            }
            other => panic!("an action: {other}"),
        }
    }

    /// RAM refuses a resource for associations of principals.
    fn associations(&self, request: &Value) -> Answer {
        let association = |share: &Share, entity: &str, status: &str| {
            json!({
                "resourceShareArn": share.arn,
                "resourceShareName": share.name,
                "associatedEntity": entity,
                "status": status,
            })
        };
        let found: Vec<Value> = match (request["associationType"].as_str(), request["resourceArn"].as_str()) {
            (Some("RESOURCE"), Some(resource)) => {
                let has = |share: &&Share| share.resources.iter().any(|other| other == resource);
                self.shares
                    .iter()
                    .filter(has)
                    .map(|share| association(share, resource, "ASSOCIATED"))
                    .collect()
            }
            (Some("PRINCIPAL"), None) => {
                let arns = texts(request, "resourceShareArns");
                let shares = self.shares.iter().filter(|share| arns.contains(&share.arn));
                let of_share = |share: &Share| {
                    let principals = share.principals.iter();
                    principals.map(|(id, status)| association(share, id, status)).collect::<Vec<_>>()
                };
                shares.flat_map(of_share).collect()
            }
            _ => return Err((400, "InvalidParameterException")),
        };
        Ok(json!({"resourceShareAssociations": found}))
    }
}
