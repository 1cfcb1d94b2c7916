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

struct Sharing<'a> {
    context: CheckContext<'a>,
    configuration: &'a ResourceConfiguration,
    /// Those that the configuration was not taken out of.
    shares: Vec<&'a Share>,
}

pub fn check_share(
    context: CheckContext<'_>,
    configuration: &ResourceConfiguration,
    shares: &Fact<Vec<Share>>,
) -> Checked<Finding> {
    let not_checked =
        "the accounts that the resource configuration is shared with, and whether they accepted";
    let shares = shares.or_not_examined(SHARE, not_checked)?;
    let shares = shares.iter().filter(|share| acceptance(&share.status) != Acceptance::Gone).collect();
    Ok(Sharing { context, configuration, shares }.check())
}

impl<'a> Sharing<'a> {
    fn check(&self) -> Finding {
        let observed = self.observed();
        let fixes = self.fixes();
        if !fixes.is_empty() {
            let impact =
                "an account sees the resource configuration only after the share is complete and accepted";
            return Finding::warning(SHARE, observed, impact, fixes.join("; "));
        }
        if self.principals(Acceptance::Accepted).next().is_some() {
            return Finding::ok(SHARE, observed);
        }
        let gone = self.principals(Acceptance::Gone);
        let invite =
            |(share, gone): (&Share, &Principal)| self.context.aws(ADD_PRINCIPAL, &[&share.arn, &gone.id]);
        let invitations = gone.map(invite).joined(" ");
        if !invitations.is_empty() {
            let impact = "no vendor connects by this path: the invitation was declined or has expired, or the account was \
                          removed";
            let fix = format!("if the account is a vendor's, invite it again: {invitations}");
            return Finding::warning(SHARE, observed, impact, fix);
        }
        self.shared_with_nobody(observed)
    }

    fn principals(&self, wanted: Acceptance) -> impl Iterator<Item = (&'a Share, &'a Principal)> {
        let pairs = self.shares.iter().flat_map(|share| share.principals.iter().map(|it| (*share, it)));
        pairs.filter(move |(_, principal)| acceptance(&principal.status) == wanted)
    }

    /// The steps that are left until each principal has accepted.
    fn fixes(&self) -> Vec<String> {
        let Self { context, configuration, shares } = self;
        let mut fixes = Vec::new();
        for share in shares.iter().filter(|share| acceptance(&share.status) != Acceptance::Accepted) {
            let put = "ram associate-resource-share --resource-share-arn {} --resource-arns {}";
            let put = context.aws(put, &[&share.arn, &configuration.shared_arn]);
            fixes.push(format!("wait some minutes, otherwise put it into the share again: {put}"));
        }
        let (invited, others): (Vec<_>, Vec<_>) =
            self.principals(Acceptance::Pending).partition(|(_, principal)| is_account(principal));
        let mut invited: Vec<&Share> = invited.into_iter().map(|(share, _)| share).collect();
        invited.dedup();
        fixes.extend(invited.into_iter().map(|share| accept(*context, share)));
        if !others.is_empty() {
            fixes.push("wait some minutes, then run the doctor again".to_owned());
        }
        for (share, principal) in self.principals(Acceptance::Failed) {
            let values = [&*share.arn, &principal.id];
            let remove = "ram disassociate-resource-share --resource-share-arn {} --principals {}";
            let (remove, add) = (context.aws(remove, &values), context.aws(ADD_PRINCIPAL, &values));
            fixes.push(format!("share it again: {remove} and, when that is done, {add}"));
        }
        fixes
    }

    fn observed(&self) -> String {
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
        let shares = self.shares.iter().map(of_share).joined("; ");
        let list = if shares.is_empty() { "nobody" } else { &shares };
        format!("{} is shared with {list}", self.configuration.id)
    }

    fn shared_with_nobody(&self, observed: String) -> Finding {
        let ResourceConfiguration { id, name, shared_arn, is_for_shared_networks, .. } = self.configuration;
        if *is_for_shared_networks {
            let list =
                "vpc-lattice list-service-network-resource-associations --resource-configuration-identifier";
            let fix = format!("see its service networks: {}", self.context.aws(list, &[id]));
            let observed = format!("{observed}; a service network that it is in may be shared");
            return Finding::not_examined(SHARE, observed, fix);
        }
        let impact = "no other account connects by this path";
        let Some(account) = self.context.principal.and_then(arn::account) else {
            let fix = "ask the vendor for the ARN of its principal, then run the doctor with --principal and that ARN";
            return Finding::warning(SHARE, observed, impact, fix);
        };
        let create = "ram create-resource-share --name {} --resource-arns {} --principals {}";
        let command = match self.shares.first() {
            Some(share) => self.context.aws(ADD_PRINCIPAL, &[&share.arn, account]),
            None => self.context.aws(create, &[name, shared_arn, account]),
        };
        Finding::warning(SHARE, observed, impact, format!("share it: {command}"))
    }
}

/// Whether it is an account, which is invited. An organization or a unit of one has no invitation to accept.
fn is_account(principal: &Principal) -> bool {
    principal.id.len() == 12 && principal.id.bytes().all(|byte| byte.is_ascii_digit())
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
