//! What a request asks for, and whether its signer gives such certificates. Pure.

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer as _;

const NODES: &str = "system:nodes";
pub(super) const NODE_PREFIX: &str = "system:node:";

/// Those whose requests are handled here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signer {
    Client,
    NodeClient,
    NodeServing,
}

/// The names in a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub common_name: String,
    organizations: Vec<String>,
    /// DNS names and addresses.
    hosts: usize,
    /// Mail addresses, URIs and others.
    others: usize,
}

impl Signer {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "kubernetes.io/kube-apiserver-client" => Some(Self::Client),
            "kubernetes.io/kube-apiserver-client-kubelet" => Some(Self::NodeClient),
            "kubernetes.io/kubelet-serving" => Some(Self::NodeServing),
            _ => None,
        }
    }

    /// Why a request is not signed.
    pub(super) fn fault(self, names: &Names, usages: &[String]) -> Option<String> {
        let (needed, optional): (&[&str], &[&str]) = match self {
            Self::Client => (&["client auth"], &["digital signature", "key encipherment"]),
            Self::NodeClient => (&["client auth", "digital signature"], &["key encipherment"]),
            Self::NodeServing => (&["server auth", "digital signature"], &["key encipherment"]),
        };
        let has = |usage: &&str| usages.iter().any(|one| one == usage);
        let is_known =
            |usage: &String| needed.contains(&usage.as_str()) || optional.contains(&usage.as_str());
        if !needed.iter().all(has) || !usages.iter().all(is_known) {
            return Some(format!(
                "usages did not match: needed are {}, allowed besides are {}",
                needed.join(", "),
                optional.join(", ")
            ));
        }
        match self {
            Self::Client => None,
            Self::NodeClient if names.hosts + names.others > 0 => {
                Some("subjectAltNames are not allowed".to_owned())
            }
            Self::NodeServing if names.others > 0 => {
                Some("only DNS and IP subjectAltNames are allowed".to_owned())
            }
            Self::NodeServing if names.hosts == 0 => {
                Some("at least one DNS or IP subjectAltName is required".to_owned())
            }
            Self::NodeClient | Self::NodeServing => names.node_fault(),
        }
    }
}

impl Names {
    /// Reads a request; none where it is none.
    pub(super) fn parse(pem: &[u8]) -> Option<Self> {
        let block = Pem::iter_from_buffer(pem).next()?.ok()?;
        let (_, request) = X509CertificationRequest::from_der(&block.contents).ok()?;
        let subject = &request.certification_request_info.subject;
        let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
        let mut names = Self {
            common_name: text(subject.iter_common_name().next().and_then(|name| name.as_str().ok())),
            organizations: subject.iter_organization().map(|name| text(name.as_str().ok())).collect(),
            ..Self::default()
        };
        for extension in request.requested_extensions().into_iter().flatten() {
            let ParsedExtension::SubjectAlternativeName(alternatives) = extension else { continue };
            for name in &alternatives.general_names {
                match name {
                    GeneralName::DNSName(_) | GeneralName::IPAddress(_) => names.hosts += 1,
                    _ => names.others += 1,
                }
            }
        }
        Some(names)
    }

    fn node_fault(&self) -> Option<String> {
        if self.organizations != [NODES] {
            return Some("subject organization is not system:nodes".to_owned());
        }
        let is_node = self.common_name.strip_prefix(NODE_PREFIX).is_some_and(|name| !name.is_empty());
        (!is_node).then(|| "subject common name does not begin with system:node:".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(common_name: &str, hosts: usize, others: usize) -> Names {
        Names { common_name: common_name.to_owned(), organizations: vec![NODES.to_owned()], hosts, others }
    }

    fn usages(all: &[&str]) -> Vec<String> {
        all.iter().map(|one| (*one).to_owned()).collect()
    }

    #[test]
    fn each_signer_gives_what_it_is_for() {
        let client = usages(&["client auth", "digital signature", "key encipherment"]);
        let server = usages(&["server auth", "digital signature"]);
        let node = names("system:node:n", 0, 0);
        assert_eq!(Signer::Client.fault(&names("ann", 1, 1), &client), None);
        assert_eq!(Signer::NodeClient.fault(&node, &client), None);
        assert_eq!(Signer::NodeServing.fault(&names("system:node:n", 2, 0), &server), None);
        for (signer, names, usages, text) in [
            (Signer::Client, names("ann", 0, 0), &server, "usages did not match"),
            (Signer::NodeClient, names("system:node:n", 1, 0), &client, "subjectAltNames are not allowed"),
            (Signer::NodeClient, names("system:node:", 0, 0), &client, "does not begin with system:node:"),
            (Signer::NodeServing, names("system:node:n", 0, 0), &server, "at least one DNS or IP"),
            (Signer::NodeServing, names("system:node:n", 1, 1), &server, "only DNS and IP"),
            (Signer::NodeServing, names("system:node:n", 1, 0), &client, "usages did not match"),
        ] {
            let fault = signer.fault(&names, usages).unwrap();
            assert!(fault.contains(text), "{signer:?}: {fault}");
        }
        let of_others = Names { organizations: vec!["x".to_owned()], ..node };
        assert!(Signer::NodeClient.fault(&of_others, &client).unwrap().contains("organization"));
    }
}
