use crate::workplace::Workplace;

/// The first page, and that each verb on it answers `--help` and has words of its own.
#[test]
fn every_verb_explains_itself() {
    let place = Workplace::empty();
    let verbs = place.verbs(&[]);
    for expected in [
        "init", "run", "tune", "data", "models", "predict", "compile", "smoke", "devices",
        "rollout", "monitor", "alerts", "labels", "rounds", "retrain", "boards", "doctor",
    ] {
        assert!(
            verbs.iter().any(|verb| verb == expected),
            "{expected} is not in {verbs:?}"
        );
    }
    for verb in verbs {
        let page = place.check(&[&verb, "--help"], 0).stdout;
        assert!(page.contains("Usage: tinyops"), "{verb}: {page}");
        assert!(page.contains("--json"), "{verb}: {page}");
    }
}

#[test]
fn lineage_help() {
    let page = Workplace::empty().check(&["models", "lineage", "--help"], 0);
    insta::assert_snapshot!(page.stdout);
}

#[test]
fn an_unknown_verb_is_a_wrong_question() {
    let answer = Workplace::empty().check(&["modles"], 2);
    assert!(answer.stdout.is_empty());
    assert!(answer.stderr.contains("modles"), "{}", answer.stderr);
}
