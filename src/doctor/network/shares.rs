//! The resource shares of a resource configuration: a vendor's account is invited, and accepted.
//!
//! An account outside the organization is invited. RAM names it as `ASSOCIATING` until it accepts, and removes it if it
//! declines or if the invitation expires, after 12 hours or 7 days, by the type of the resource (RAM guide, "Accepting and
//! rejecting resource share invitations").

use super::facts::{Principal, ResourceConfiguration, Share};
use crate::arn;
use crate::doctor::context::CheckContext;
use crate::doctor::facts::Fact;
use crate::doctor::finding::{Checked, FactOr as _, Finding};
use crate::doctor::shell::line;
use crate::text::Joined as _;

const SHARE: &str = "lattice_share";
const ADD_PRINCIPAL: &str = "ram associate-resource-share --resource-share-arn {} --principals {}";

/// What the states of a principal mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Acceptance {
    Accepted,
    Pending,
    /// The invitation was declined or expired, or the principal was removed.
    Gone,
    Failed,
}

fn acceptance(status: &str) -> Acceptance {
    match status {
        "ASSOCIATED" => Acceptance::Accepted,
        "ASSOCIATING" => Acceptance::Pending,
        "DISASSOCIATED" | "DISASSOCIATING" => Acceptance::Gone,
        _ => Acceptance::Failed,
    }
}

pub fn check_share(
    context: CheckContext<'_>,
    configuration: &ResourceConfiguration,
    shares: &Fact<Vec<Share>>,
) -> Checked<Finding> {
    let not_checked =
        "the accounts that the resource configuration is shared with, and whether they accepted";
    let is_left = |share: &&Share| acceptance(&share.status) != Acceptance::Gone;
    let shares = shares.or_not_examined(SHARE, not_checked)?;
    let shares: Vec<&Share> = shares.iter().filter(is_left).collect();
    let observed = observed(configuration, &shares);
    let fixes = fixes(context, configuration, &shares);
    if !fixes.is_empty() {
        let impact =
            "an account sees the resource configuration only after the share is complete and accepted";
        return Ok(Finding::warning(SHARE, observed, impact, fixes.join("; ")));
    }
    if with(&shares, Acceptance::Accepted).next().is_some() {
        return Ok(Finding::ok(SHARE, observed));
    }
    let gone = with(&shares, Acceptance::Gone);
    let gone = gone.map(|(share, gone)| context.aws(ADD_PRINCIPAL, &[&share.arn, &gone.id])).joined(" ");
    if !gone.is_empty() {
        let impact = "no vendor connects by this path: the invitation was declined or has expired, or the account was \
                      removed";
        let fix = format!("if the account is a vendor's, invite it again: {gone}");
        return Ok(Finding::warning(SHARE, observed, impact, fix));
    }
    Ok(shared_with_nobody(context, configuration, &shares, observed))
}

fn with<'s>(shares: &[&'s Share], wanted: Acceptance) -> impl Iterator<Item = (&'s Share, &'s Principal)> {
    let pairs = shares.iter().flat_map(|share| share.principals.iter().map(|it| (*share, it)));
    pairs.filter(move |(_, principal)| acceptance(&principal.status) == wanted)
}

fn fixes(context: CheckContext<'_>, configuration: &ResourceConfiguration, shares: &[&Share]) -> Vec<String> {
    let mut fixes = Vec::new();
    for share in shares.iter().filter(|share| acceptance(&share.status) != Acceptance::Accepted) {
        let put = "ram associate-resource-share --resource-share-arn {} --resource-arns {}";
        let put = context.aws(put, &[&share.arn, &configuration.shared_arn]);
        fixes.push(format!("wait some minutes, otherwise put it into the share again: {put}"));
    }
    let is_invited =
        |share: &&&Share| with(&[share], Acceptance::Pending).any(|(_, principal)| is_account(principal));
    fixes.extend(shares.iter().filter(is_invited).map(|share| accept(context, share)));
    if with(shares, Acceptance::Pending).any(|(_, principal)| !is_account(principal)) {
        fixes.push("wait some minutes, then run the doctor again".to_owned());
    }
    for (share, principal) in with(shares, Acceptance::Failed) {
        let values = [&*share.arn, &principal.id];
        let remove = "ram disassociate-resource-share --resource-share-arn {} --principals {}";
        let (remove, add) = (context.aws(remove, &values), context.aws(ADD_PRINCIPAL, &values));
        fixes.push(format!("share it again: {remove} and, when that is done, {add}"));
    }
    fixes
}

/// Whether it is an account, which is invited. An organization or a unit of one has no invitation to accept.
fn is_account(principal: &Principal) -> bool {
    principal.id.len() == 12 && principal.id.bytes().all(|byte| byte.is_ascii_digit())
}

fn observed(configuration: &ResourceConfiguration, shares: &[&Share]) -> String {
    let of_share = |share: &&Share| {
        let list = share.principals.iter().map(|principal| {
            let word = match acceptance(&principal.status) {
                Acceptance::Accepted => "accepted",
                Acceptance::Pending => "invited, not accepted",
                Acceptance::Gone => "removed, or its invitation declined or expired",
                Acceptance::Failed => principal.status.as_str(),
            };
            format!("{} ({word})", principal.id)
        });
        let list = list.listed_or("nobody");
        let state = match acceptance(&share.status) {
            Acceptance::Accepted => String::new(),
            _ => format!(", where it is {}", share.status),
        };
        format!("{list} by the share {}{state}", share.name)
    };
    let list = if shares.is_empty() { "nobody".to_owned() } else { shares.iter().map(of_share).joined("; ") };
    format!("{} is shared with {list}", configuration.id)
}

/// The command for the invited account. Only that account can list the invitation's ARN.
fn accept(context: CheckContext<'_>, share: &Share) -> String {
    let list = context.aws_line(
        "ram get-resource-share-invitations --resource-share-arns {} --query {} --output text",
        &[&share.arn, "resourceShareInvitations[?status=='PENDING'].resourceShareInvitationArn"],
    );
    let accept = "aws ram accept-resource-share-invitation --region {} --resource-share-invitation-arn";
    format!(
        "let the invited account run this before the invitation expires (no output means that no invitation waits): \
         `{list} | xargs -r -n 1 {}`",
        line(accept, &[context.region()])
    )
}

fn shared_with_nobody(
    context: CheckContext<'_>,
    configuration: &ResourceConfiguration,
    shares: &[&Share],
    observed: String,
) -> Finding {
    let ResourceConfiguration { id, name, shared_arn, is_for_shared_networks, .. } = configuration;
    if *is_for_shared_networks {
        let list =
            "vpc-lattice list-service-network-resource-associations --resource-configuration-identifier";
        let list = context.aws(list, &[id]);
        let observed = format!("{observed}; a service network that it is in may be shared");
        return Finding::not_examined(SHARE, observed, format!("see its service networks: {list}"));
    }
    let fix = match (context.principal.and_then(arn::account), shares.first()) {
        (None, _) => {
            "ask the vendor for the ARN of its principal, then run the doctor with --principal and that ARN"
                .to_owned()
        }
        (Some(account), Some(share)) => {
            format!("share it: {}", context.aws(ADD_PRINCIPAL, &[&share.arn, account]))
        }
        (Some(account), None) => {
            let create = "ram create-resource-share --name {} --resource-arns {} --principals {}";
            format!("share it: {}", context.aws(create, &[name, shared_arn, account]))
        }
    };
    Finding::warning(SHARE, observed, "no other account connects by this path", fix)
}
