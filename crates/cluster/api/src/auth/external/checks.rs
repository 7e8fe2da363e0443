//! What is wrong with an `AuthenticationConfiguration`, in upstream's words
//! (`apiserver/pkg/apis/apiserver/validation`).

use std::collections::HashSet;

use hako_error::FieldCause;
use hako_kube::field::{self, child};
use hako_kube::names;

use super::config::{ClaimRule, ExtraMapping, File, IssuerAt, Jwt, Mapping, Mappings, UserRule};
use super::expressions::{Expression, Expressions, Of};
use crate::auth::token;

const ISSUERS_MAX: usize = 64;
const BOTH: &str = "claim and expression can't both be set";
const NEITHER: &str = "claim or expression is required";
const PREFIX: &str =
    "prefix is required when claim is set. It can be set to an empty string to disable prefixing";
const UNVERIFIED: &str = "claims.email_verified must be used in claimMappings.username.expression or \
     claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in \
     claimMappings.username.expression";
const RESERVED: &str = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use";

/// The expressions of each issuer; all faults of the file if it has some.
pub(super) fn check(file: &File) -> Result<Vec<Expressions>, Vec<FieldCause>> {
    if file.jwt.len() > ISSUERS_MAX {
        return Err(vec![field::too_many("jwt", file.jwt.len(), ISSUERS_MAX)]);
    }
    let mut faults = Vec::new();
    let (mut urls, mut discoveries) = (HashSet::new(), HashSet::new());
    let mut all = Vec::with_capacity(file.jwt.len());
    for (index, jwt) in file.jwt.iter().enumerate() {
        let path = field::index("jwt", index);
        let (at, issuer) = (child(&path, "issuer"), &jwt.issuer);
        check_issuer(issuer, &at, &mut faults);
        if !urls.insert(&issuer.url) {
            faults.push(field::duplicate(child(&at, "url"), issuer.url.as_str()));
        }
        if !issuer.discovery_url.is_empty() && !discoveries.insert(&issuer.discovery_url) {
            faults.push(field::duplicate(child(&at, "discoveryURL"), issuer.discovery_url.as_str()));
        }
        all.push(Compiling { path: &path, faults: &mut faults }.expressions(jwt));
    }
    if let Some(anonymous) = &file.anonymous
        && !anonymous.enabled
        && !anonymous.conditions.is_empty()
    {
        let detail = "enabled should be set to true when conditions are defined";
        faults.push(field::invalid("anonymous.conditions", anonymous.conditions.len(), detail));
    }
    if faults.is_empty() { Ok(all) } else { Err(faults) }
}

fn check_issuer(issuer: &IssuerAt, path: &str, faults: &mut Vec<FieldCause>) {
    let url = child(path, "url");
    match issuer.url.as_str() {
        "" => faults.push(field::required(&url, "")),
        text => check_url(text, &url, faults),
    }
    if issuer.url == token::ISSUER {
        let detail = format!("URL must not overlap with disallowed issuers: [{}]", token::ISSUER);
        faults.push(field::invalid(&url, issuer.url.as_str(), &detail));
    }
    let discovery = issuer.discovery_url.as_str();
    if !discovery.is_empty() {
        let at = child(path, "discoveryURL");
        if discovery.trim_end_matches('/') == issuer.url.trim_end_matches('/') {
            faults.push(field::invalid(&at, discovery, "discoveryURL must be different from URL"));
        }
        check_url(discovery, &at, faults);
    }
    check_audiences(issuer, path, faults);
    let authority = issuer.certificate_authority.as_str();
    if !authority.is_empty()
        && let Err(fault) = hako_trust::read(authority.as_bytes())
    {
        faults.push(field::invalid(child(path, "certificateAuthority"), "<omitted>", &fault.to_string()));
    }
    let at = child(path, "egressSelectorType");
    match issuer.egress_selector_type.as_str() {
        "" => {}
        known @ ("controlplane" | "cluster") => {
            faults.push(field::invalid(at, known, "there are no egress selectors here; leave it out"));
        }
        other => {
            let detail = "egress selector must be either controlplane or cluster";
            faults.push(field::invalid(at, other, detail));
        }
    }
}

fn check_url(text: &str, path: &str, faults: &mut Vec<FieldCause>) {
    let Ok(url) = text.parse::<http::Uri>() else {
        faults.push(field::invalid(path, text, "is no URL"));
        return;
    };
    let mut fault = |is_wrong: bool, detail: &str| {
        if is_wrong {
            faults.push(field::invalid(path, text, detail));
        }
    };
    fault(url.scheme_str() != Some("https"), "URL scheme must be https");
    let has_user = url.authority().is_some_and(|authority| authority.as_str().contains('@'));
    fault(has_user, "URL must not contain a username or password");
    fault(url.query().is_some(), "URL must not contain a query");
    fault(text.contains('#'), "URL must not contain a fragment");
}

fn check_audiences(issuer: &IssuerAt, path: &str, faults: &mut Vec<FieldCause>) {
    let at = child(path, "audiences");
    if issuer.audiences.is_empty() {
        faults.push(field::required(&at, &format!("at least one {at} is required")));
        return;
    }
    let mut seen = HashSet::new();
    for (index, audience) in issuer.audiences.iter().enumerate() {
        if audience.is_empty() {
            faults.push(field::required(field::index(&at, index), ""));
        }
        if !seen.insert(audience) {
            faults.push(field::duplicate(field::index(&at, index), audience.as_str()));
        }
    }
    let detail = match (issuer.audience_match_policy.as_str(), issuer.audiences.len()) {
        ("MatchAny", _) | ("", 1) => return,
        (_, 1) => "audienceMatchPolicy must be empty or MatchAny for single audience",
        _ => "audienceMatchPolicy must be MatchAny for multiple audiences",
    };
    let policy = issuer.audience_match_policy.as_str();
    faults.push(field::invalid(child(path, "audienceMatchPolicy"), policy, detail));
}

/// The expressions of one issuer, on their way to be compiled.
struct Compiling<'a> {
    /// Of the issuer.
    path: &'a str,
    faults: &'a mut Vec<FieldCause>,
}

impl Compiling<'_> {
    fn expressions(&mut self, jwt: &Jwt) -> Expressions {
        let mut all = Expressions::default();
        let rules = child(self.path, "claimValidationRules");
        self.claim_rules(&jwt.claim_validation_rules, &rules, &mut all);
        let mappings = child(self.path, "claimMappings");
        self.mappings(&jwt.claim_mappings, &mappings, &mut all);
        let rules = child(self.path, "userValidationRules");
        self.user_rules(&jwt.user_validation_rules, &rules, &mut all);
        all
    }

    fn compile(&mut self, of: Of, text: &str, path: String) -> Option<Expression> {
        match Expression::compile(of, text) {
            Ok(expression) => Some(expression),
            Err(why) => {
                self.faults.push(field::invalid(path, text, &why));
                None
            }
        }
    }

    fn claim_rules(&mut self, rules: &[ClaimRule], path: &str, all: &mut Expressions) {
        let (mut claims, mut expressions) = (HashSet::new(), HashSet::new());
        for (index, rule) in rules.iter().enumerate() {
            let at = field::index(path, index);
            match (rule.claim.as_str(), rule.expression.as_str()) {
                ("", "") => self.faults.push(field::required(at, NEITHER)),
                (claim, "") => {
                    if !rule.message.is_empty() {
                        let detail = "may not be specified when claim is set";
                        let message = rule.message.as_str();
                        self.faults.push(field::invalid(child(&at, "message"), message, detail));
                    }
                    if !claims.insert(claim) {
                        self.faults.push(field::duplicate(child(&at, "claim"), claim));
                    }
                }
                ("", text) => {
                    if !rule.required_value.is_empty() {
                        let detail = "may not be specified when expression is set";
                        let value = rule.required_value.as_str();
                        self.faults.push(field::invalid(child(&at, "requiredValue"), value, detail));
                    }
                    let at = child(&at, "expression");
                    if !expressions.insert(text) {
                        self.faults.push(field::duplicate(at, text));
                        continue;
                    }
                    let compiled = self.compile(Of::ClaimRule, text, at);
                    all.claim_rules.extend(compiled.map(|it| (it, rule.message.clone())));
                }
                (claim, _) => self.faults.push(field::invalid(at, claim, BOTH)),
            }
        }
    }

    fn mappings(&mut self, mappings: &Mappings, path: &str, all: &mut Expressions) {
        let username = child(path, "username");
        if mappings.username.claim.is_empty() && mappings.username.expression.is_empty() {
            self.faults.push(field::required(&username, NEITHER));
        }
        all.username = self.mapping(&mappings.username, &username);
        all.groups = self.mapping(&mappings.groups, &child(path, "groups"));
        let (uid, at) = (&mappings.uid, child(path, "uid"));
        match (uid.claim.as_str(), uid.expression.as_str()) {
            (_, "") => {}
            ("", text) => all.uid = self.compile(Of::Claims, text, child(&at, "expression")),
            _ => self.faults.push(field::invalid(at, "", BOTH)),
        }
        self.extras(&mappings.extra, &child(path, "extra"), all);
        if let Some(expression) = &all.username
            && expression.uses("email")
            && !all.verify_the_email()
        {
            let text = mappings.username.expression.as_str();
            self.faults.push(field::invalid(child(&username, "expression"), text, UNVERIFIED));
        }
    }

    fn mapping(&mut self, mapping: &Mapping, path: &str) -> Option<Expression> {
        let prefix = child(path, "prefix");
        match (mapping.claim.as_str(), mapping.expression.as_str()) {
            ("", "") => None,
            (_, "") => {
                if mapping.prefix.is_none() {
                    self.faults.push(field::required(prefix, PREFIX));
                }
                None
            }
            ("", text) => {
                if let Some(given) = &mapping.prefix {
                    let detail = "may not be specified when expression is set";
                    self.faults.push(field::invalid(prefix, given.as_str(), detail));
                }
                self.compile(Of::Claims, text, child(path, "expression"))
            }
            _ => {
                self.faults.push(field::invalid(path, "", BOTH));
                None
            }
        }
    }

    fn extras(&mut self, extras: &[ExtraMapping], path: &str, all: &mut Expressions) {
        let mut keys = HashSet::new();
        for (index, extra) in extras.iter().enumerate() {
            let (at, name) = (field::index(path, index), extra.key.as_str());
            let key = child(&at, "key");
            self.faults.extend(names::domain_prefixed_path(&key, name));
            if name != name.to_lowercase() {
                self.faults.push(field::invalid(&key, name, "must be lowercase"));
            }
            if is_reserved(name) {
                self.faults.push(field::invalid(&key, name, RESERVED));
            }
            if !keys.insert(name) {
                self.faults.push(field::duplicate(key, name));
                continue;
            }
            let at = child(&at, "valueExpression");
            match extra.value_expression.as_str() {
                "" => self.faults.push(field::required(at, "")),
                text => {
                    let compiled = self.compile(Of::Claims, text, at);
                    all.extra.extend(compiled.map(|it| (name.to_owned(), it)));
                }
            }
        }
    }

    fn user_rules(&mut self, rules: &[UserRule], path: &str, all: &mut Expressions) {
        let mut seen = HashSet::new();
        for (index, rule) in rules.iter().enumerate() {
            let (at, text) = (child(&field::index(path, index), "expression"), rule.expression.as_str());
            if text.is_empty() {
                self.faults.push(field::required(at, ""));
            } else if !seen.insert(text) {
                self.faults.push(field::duplicate(at, text));
            } else {
                let compiled = self.compile(Of::UserRule, text, at);
                all.user_rules.extend(compiled.map(|it| (it, rule.message.clone())));
            }
        }
    }
}

/// Whether a key is under a domain of Kubernetes'.
fn is_reserved(key: &str) -> bool {
    let Some((domain, _)) = key.split_once('/') else { return false };
    ["kubernetes.io", "k8s.io"]
        .iter()
        .any(|own| domain.strip_suffix(own).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}
