use super::*;

fn report(text: &str) -> Report {
    with(text, &[], None)
}

fn with(text: &str, args: &[(&str, &str)], ignore: Option<&str>) -> Report {
    let args = args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let known = |image: &str| (image == "known").then(|| vec![("PYTHON_VERSION".to_owned(), "3".to_owned())]);
    check(text, "Dockerfile", &CheckInput { args: &args, ignore, base_env: &known, foreign: &[] }).unwrap()
}

fn found(text: &str) -> Vec<(Rule, usize)> {
    report(text).findings.iter().map(|finding| (finding.rule, finding.line)).collect()
}

#[test]
fn a_file_without_fault_has_no_findings() {
    let text = "# syntax=docker/dockerfile:1\n# what it is for\n\nARG V=1\nFROM --platform=$BUILDPLATFORM golang:$V AS build\n\
                WORKDIR /src\nCOPY go.mod ./\nRUN go build -o /app .\n\nFROM scratch\nENV A=1 B=2\n\
                COPY --from=build /app /app\nEXPOSE 80 443/tcp\nHEALTHCHECK CMD [\"/app\", \"-c\"]\nENTRYPOINT [\"/app\"]\n";
    assert_eq!(found(text), []);
}

#[test]
fn every_rule_finds_what_it_is_for_at_its_line() {
    for (rule, line, text) in [
        (Rule::StageNameCasing, 1, "FROM a AS Build"),
        (Rule::FromAsCasing, 1, "FROM a as build"),
        (Rule::FromAsCasing, 1, "from a AS build"),
        (Rule::NoEmptyContinuation, 3, "FROM a\nRUN b \\\n\n  c"),
        (Rule::ConsistentInstructionCasing, 2, "FROM a\nrun b"),
        (Rule::ConsistentInstructionCasing, 2, "FROM a\nRun b"),
        (Rule::ConsistentInstructionCasing, 3, "from a\nrun b\nRUN c"),
        (Rule::DuplicateStageName, 2, "FROM a AS x\nFROM b AS x"),
        (Rule::ReservedStageName, 1, "FROM a AS scratch"),
        (Rule::ReservedStageName, 1, "FROM a AS context"),
        (Rule::JSONArgsRecommended, 2, "FROM a\nCMD b"),
        (Rule::JSONArgsRecommended, 2, "FROM a\nENTRYPOINT b c"),
        (Rule::MaintainerDeprecated, 2, "FROM a\nMAINTAINER me"),
        (Rule::UndefinedArgInFrom, 2, "ARG VERSION=1\nFROM a:v$VERSIONS"),
        (Rule::UndefinedArgInFrom, 1, "FROM --platform=$BULIDPLATFORM a"),
        (Rule::WorkdirRelativePath, 2, "FROM a\nWORKDIR b"),
        (Rule::UndefinedVar, 2, "FROM scratch\nCOPY $foo ."),
        (Rule::UndefinedVar, 2, "FROM a\nENV PATH=$PAHT:/x"),
        (Rule::UndefinedVar, 2, "FROM known\nARG V=$PYTHON"),
        (Rule::UndefinedVar, 2, "FROM scratch\nCOPY <<EOF /x\n$foo\nEOF"),
        (Rule::UndefinedVar, 2, "FROM scratch\nRUN --mount=type=cache,target=$foo x"),
        (Rule::MultipleInstructionsDisallowed, 2, "FROM a\nCMD [\"b\"]\nCMD [\"c\"]"),
        (Rule::MultipleInstructionsDisallowed, 2, "FROM a\nHEALTHCHECK CMD b\nHEALTHCHECK NONE"),
        (Rule::LegacyKeyValueFormat, 2, "FROM a\nENV b c"),
        (Rule::LegacyKeyValueFormat, 2, "FROM a\nLABEL b c"),
        (Rule::RedundantTargetPlatform, 1, "FROM --platform=$TARGETPLATFORM a"),
        (Rule::RedundantTargetPlatform, 1, "FROM --platform=${TARGETPLATFORM} a"),
        (Rule::SecretsUsedInArgOrEnv, 2, "FROM a\nARG AWS_SECRET_ACCESS"),
        (Rule::SecretsUsedInArgOrEnv, 2, "FROM a\nENV api_key=1"),
        (Rule::SecretsUsedInArgOrEnv, 1, "ARG PASSWORD\nFROM a"),
        (Rule::InvalidDefaultArgInFrom, 2, "ARG TAG\nFROM busybox:$TAG"),
        (Rule::InvalidDefaultArgInFrom, 2, "ARG BASE\nFROM $BASE"),
        (Rule::FromPlatformFlagConstDisallowed, 1, "FROM --platform=linux/amd64 a"),
        (Rule::ExposeProtoCasing, 2, "FROM a\nEXPOSE 80/TCP"),
        (Rule::ExposeInvalidFormat, 2, "FROM a\nEXPOSE 127.0.0.1:80:80"),
        (Rule::ExposeInvalidFormat, 2, "FROM a\nEXPOSE 8080:80"),
    ] {
        assert_eq!(found(text), [(rule, line)], "{text}");
    }
}

#[test]
fn what_is_meant_to_be_is_not_found() {
    for text in [
        "ARG REGISTRY=docker.io\nFROM $REGISTRY/a AS b\nFROM b",
        "from a as build",
        "FROM --platform=linux/amd64 a AS build-amd64",
        "FROM --platform=linux/$TARGETARCH a",
        "FROM a\nSHELL [\"/bin/bash\", \"-c\"]\nCMD b",
        "FROM a AS x\nWORKDIR /b\nFROM x\nWORKDIR c",
        "FROM a\nARG V\nCOPY $V .",
        "FROM known\nENV X=$PYTHON_VERSION",
        "FROM a\nENV X=$WHO_KNOWS_THAT_IT_IS_IN_THE_BASE",
        "FROM a AS x\nENV Y=1\nFROM x\nCOPY $Y .",
        "FROM a\nENV X=$http_proxy Y=${PATH}",
        "FROM a\nARG PUBLIC_KEY\nARG KEY_FILE\nARG TOKEN_VERSION\nARG MONKEY",
        "FROM a\nCMD [\"b\"]\nFROM c\nCMD [\"d\"]",
        "ARG TAG=1\nFROM busybox:${TAG:-2}",
        "ARG TAG\nFROM busybox:${TAG:-2}",
        "ARG VARIANT\nFROM busybox${VARIANT:+-$VARIANT}",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
}

#[test]
fn a_base_image_for_another_platform_is_found_where_it_is_named() {
    let base = |line| ForeignBase {
        line,
        name: "a".into(),
        platform: "linux/arm64".into(),
        wanted: "linux/amd64".into(),
    };
    let input = CheckInput { args: &BTreeMap::new(), ignore: None, base_env: &|_| None, foreign: &[base(3)] };
    let found = |text: &str| check(text, "Dockerfile", &input).unwrap().findings;
    let findings = found("ARG V=1\nFROM b AS b\nFROM a\nCOPY --from=b / /\n");
    assert_eq!((findings[0].rule, findings[0].line, findings.len()), (Rule::InvalidBaseImagePlatform, 3, 1));
    assert_eq!(findings[0].message, "a is for linux/arm64, and linux/amd64 is built");
    let given = found("ARG BASE\n# given by who builds\nFROM ${BASE:?needed}\n");
    assert!(given.iter().any(|finding| finding.rule == Rule::InvalidBaseImagePlatform), "{given:?}");
    assert_eq!(found("# check=skip=InvalidBaseImagePlatform\n\nFROM a\n"), []);
}

#[test]
fn near_words_are_suggested() {
    let text = report("ARG VERSION=1\nFROM a:$VERSOIN").findings[0].message.clone();
    assert!(text.ends_with("VERSOIN, did you mean VERSION?"), "{text}");
}

#[test]
fn files_that_dockerignore_leaves_out_are_not_copied() {
    let copied = |source: &str, ignore: &str| {
        let text = format!("FROM a AS b\nCOPY {source} /x\nCOPY --from=other {source} /y\n");
        with(&text, &[], Some(ignore))
            .findings
            .iter()
            .map(|finding| (finding.rule, finding.line))
            .collect::<Vec<_>>()
    };
    assert_eq!(copied("./tmp/a", "tmp"), [(Rule::CopyIgnoredFile, 2)]);
    assert_eq!(copied("/a.md", "*.md"), [(Rule::CopyIgnoredFile, 2)]);
    assert_eq!(copied(".", "*"), [(Rule::CopyIgnoredFile, 2)]);
    assert_eq!(copied(".", "tmp"), []);
    assert_eq!(copied("tmp/a", "tmp\n!tmp/b"), [], "with exceptions a name says too little");
    let input =
        CheckInput { args: &BTreeMap::new(), ignore: Some("a\n["), base_env: &|_| None, foreign: &[] };
    let error = check("FROM a", "Dockerfile", &input).unwrap_err();
    assert!(error.to_string().starts_with(".dockerignore:2: the pattern is malformed"), "{error}");
}

#[test]
fn descriptions_are_checked_where_they_are_asked_for() {
    let text =
        "# a stage of mine\nFROM a AS build\n# V is the version\nARG V\n# what else\n\nARG W\n# no\nARG X\n";
    assert_eq!(found(text), []);
    let asked = format!("# check=experimental=all\n{text}");
    let rule = Rule::InvalidDefinitionDescription;
    assert_eq!(found(&asked), [(rule, 3), (rule, 10)]);
    let asked = format!("# check=experimental=InvalidDefinitionDescription\n{text}");
    assert_eq!(found(&asked).len(), 2);
}

#[test]
fn the_file_says_which_rules_count() {
    let text = "FROM a as B\nCMD b\n";
    let names = |text: &str| report(text).findings.iter().map(|finding| finding.rule).collect::<Vec<_>>();
    assert_eq!(names(text), [Rule::StageNameCasing, Rule::FromAsCasing, Rule::JSONArgsRecommended]);
    assert_eq!(
        names(&format!("# check=skip=FromAsCasing, StageNameCasing\n{text}")).len(),
        2,
        "a space ends it"
    );
    assert_eq!(
        names(&format!("# check=skip=FromAsCasing,StageNameCasing;error=true\n{text}")),
        [Rule::JSONArgsRecommended]
    );
    assert_eq!(names(&format!("# check=skip=all\n{text}")), []);
    assert_eq!(names(&format!("# check=skip=jsonargsrecommended\n{text}")).len(), 3, "names have their case");
    assert!(report(&format!("# check=error=true\n{text}")).is_error);
    assert!(!report(text).is_error);
}

#[test]
fn a_comment_above_an_instruction_counts_for_it_alone() {
    let text = "FROM a\n# check=skip=WorkdirRelativePath\nWORKDIR b\nFROM a\nWORKDIR c\n";
    assert_eq!(found(text), [(Rule::WorkdirRelativePath, 5)]);
}

#[test]
fn the_build_argument_wins_over_the_directive() {
    let text = "# check=skip=all\nFROM a\nCMD b\nMAINTAINER c\n";
    let report = with(text, &[("BUILDKIT_DOCKERFILE_CHECK", "skip=MaintainerDeprecated;error=1")], None);
    assert_eq!((report.findings.len(), report.findings[0].rule), (1, Rule::JSONArgsRecommended));
    assert!(report.is_error);
}

#[test]
fn checks_that_make_no_sense_are_refused_with_their_line() {
    let input = CheckInput { args: &BTreeMap::new(), ignore: None, base_env: &|_| None, foreign: &[] };
    for text in ["# check=skipp=all\nFROM a", "# check=all\nFROM a", "# check=error=maybe\nFROM a"] {
        let error = check(text, "f", &input).unwrap_err();
        assert_eq!(error.faults[0].line, 1, "{error}");
    }
}

#[test]
fn findings_print_as_text_and_as_json() {
    let report = report("FROM a\nMAINTAINER me");
    let text = report.to_string();
    assert!(text.starts_with("Dockerfile:2: MaintainerDeprecated: MAINTAINER is deprecated"), "{text}");
    assert!(text.contains("\n  2 | MAINTAINER me\n"), "{text}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["findings"][0]["rule"], "MaintainerDeprecated");
    assert_eq!(json["findings"][0]["line"], 2);
    assert_eq!(json["is_error"], false);
}

#[test]
fn every_rule_is_found_by_its_name() {
    for rule in Rule::ALL {
        assert_eq!(Rule::named(rule.name()), Some(*rule));
        assert!(rule.description().ends_with('.'), "{}", rule.name());
    }
    assert_eq!(Rule::ALL.len(), 22);
    assert_eq!(Rule::named("Nothing"), None);
}

proptest::proptest! {
    #[test]
    fn no_file_makes_the_checks_panic(
        text in "((FROM|RUN|COPY|ENV|ARG|EXPOSE|CMD|WORKDIR|from|Env) [a-zA-Z$={}:/ \"\\\\.-]{0,12}(\\\\)?\n|# check=skip=all\n|# a\n){0,12}",
        ignore in "[!#/ab.*\n-]{0,20}",
    ) {
        let input = CheckInput { args: &BTreeMap::new(), ignore: Some(&ignore), base_env: &|_| None, foreign: &[] };
        let _ = check(&text, "f", &input).map(|report| report.to_string());
    }
}

#[test]
fn the_directive_of_a_file_is_not_about_the_instruction_below_it() {
    let text = "# check=skip=StageNameCasing\nFROM a AS Build\n";
    assert_eq!(found(text), []);
    let report = with(text, &[("BUILDKIT_DOCKERFILE_CHECK", "skip=MaintainerDeprecated")], None);
    assert_eq!(report.findings.len(), 1, "who builds wins: {report}");
}
