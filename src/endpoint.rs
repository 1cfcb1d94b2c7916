//! What a DNS name of RDS says about the database behind it.

use crate::binding::Binding;

/// Why a cluster has no standby to keep.
pub const NO_STANDBY_IN_A_CLUSTER: &str = "\"keep\" is for Multi-AZ instances; a cluster's previous writer continues as a \
     reader, so clients would reach a database that they cannot write to";

/// Whether the name is an Aurora or Multi-AZ cluster's, or a global cluster's.
pub fn is_of_a_cluster(name: &str) -> bool {
    name.to_ascii_lowercase()
        .split('.')
        .skip(1)
        .any(|label| label.starts_with("cluster-") || label.starts_with("global-"))
}

/// The cluster member that DNS names: the first label of the name that the CNAMEs end in. Without a CNAME there
/// is none.
pub fn member(chain: &[String]) -> Option<&str> {
    let [_, .., last] = chain else { return None };
    last.split('.').next()
}

/// The cluster that the endpoint belongs to: the binding's `database`, else the first cluster endpoint
/// (`NAME.cluster-…`) among the names that DNS gave, else the endpoint's first label.
pub fn cluster_identifier(binding: &Binding, chain: &[String]) -> String {
    if let Some(database) = &binding.database {
        return database.clone();
    }
    let of_cluster = chain.iter().find_map(|name| {
        let (label, rest) = name.split_once('.')?;
        rest.starts_with("cluster-").then(|| label.to_owned())
    });
    of_cluster.unwrap_or_else(|| binding.first_label().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_names_the_member_and_the_cluster() {
        let chain = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let cname = chain(&["orders.cluster-x.rds.example", "orders-1.x.rds.example"]);
        assert_eq!(member(&cname), Some("orders-1"));
        assert_eq!(member(&chain(&["billing.x.rds.example"])), None);

        let bound = |endpoint: &str| Binding::new(endpoint, "arn:…");
        assert_eq!(cluster_identifier(&bound("orders.cluster-x.rds.example"), &cname), "orders");
        let custom = chain(&["db.example.com", "orders.cluster-x.rds.example", "orders-1.x.rds.example"]);
        assert_eq!(cluster_identifier(&bound("db.example.com"), &custom), "orders");
        let named = Binding { database: Some("sales".into()), ..bound("db.example.com") };
        assert_eq!(cluster_identifier(&named, &custom), "sales");
        let plain = chain(&["orders.example.com", "orders-1.example.com"]);
        assert_eq!(cluster_identifier(&bound("orders.example.com"), &plain), "orders");
    }
}
