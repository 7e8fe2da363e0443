//! What the fuzz targets run, on a corpus and on damaged copies of it: the same each time.

#[path = "../../../../tests/damaged.rs"]
mod damaged;
#[path = "../fuzz/harness/selectors.rs"]
mod selectors;
#[path = "../fuzz/harness/values.rs"]
mod values;

fn seeds(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[test]
fn selectors_print_as_selectors_that_select_the_same() {
    let texts = [
        "a=b,c!=d,x.io/y in (e,f),g notin (h),i,!j,k>1,l<2",
        "a in (),a in (,b),a notin(b),a==b , a = b",
        "a>b,a<-1,!a=b,a,,b",
        "metadata.name=a,spec.nodeName!=b,status.phase==c",
        r"a=b\,c,d=e\=f,g=h\\i",
        r"a=\x,=b,a!b,a!=",
        "in in (notin),notin notin (in)",
    ];
    damaged::run(seeds(&texts), 6000, selectors::run);
}

#[test]
fn values_print_as_the_same_values() {
    let texts = [
        "1.5Gi",
        "-0.5m",
        "+1e3",
        "12E",
        "9223372036854775807Ei",
        "0.000000001n",
        "100k",
        ".5",
        "1e-400000000000",
        "2026-01-02T03:04:05.123456789+23:59",
        "-009999-01-01T00:00:00Z",
        "9999-12-31T23:59:60Z",
        "*/5 0-23/2 1,15 JAN-DEC SUN",
        "@every 1h",
        "0 0 31 2 7",
        "a%2Fb%%20%e2%98%83%ff=%+&=&c=d+e",
    ];
    damaged::run(seeds(&texts), 8000, values::run);
}
