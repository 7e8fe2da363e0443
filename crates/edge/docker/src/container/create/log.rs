//! Log drivers and their options, refused where Docker refuses them.

use super::super::host::LogConfig;
use super::bytes;
use crate::error::{Failure, invalid, unimplemented};
use hako_container::{LogAddress, LogDriver, LogExtra, LogSettings, SyslogFormat, check_tag};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Options of every driver.
const COMMON: [&str; 2] = ["mode", "max-buffer-size"];
const FILES: [&str; 3] = ["max-size", "max-file", "compress"];
const EXTRA: [&str; 5] = ["labels", "labels-regex", "env", "env-regex", "tag"];
const SYSLOG: [&str; 5] =
    ["syslog-address", "syslog-facility", "syslog-format", "cache-disabled", "cache-max-size"];
/// Known and not built.
const TLS: [&str; 4] = ["syslog-tls-ca-cert", "syslog-tls-cert", "syslog-tls-key", "syslog-tls-skip-verify"];
/// Facilities in the order of their numbers; the numbers from 12 to 15 have no name.
const FACILITIES: [&str; 12] =
    ["kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"];

type Options = BTreeMap<String, String>;

pub(super) fn log_settings(config: Option<&LogConfig>) -> Result<LogSettings, Failure> {
    let options = config.and_then(|config| config.config.clone()).unwrap_or_default();
    let driver = config.map_or("", |config| config.r#type.as_str());
    check_mode(&options)?;
    let plain = LogSettings::default();
    match driver {
        "" | "json-file" => {
            known(&options, &[&FILES, &EXTRA], |name| {
                format!("unknown log opt '{name}' for json-file log driver")
            })?;
            let settings = LogSettings { driver: LogDriver::Json, extra: extra(&options)?, ..plain };
            files(settings, &options)
        }
        "local" => {
            known(&options, &[&FILES], |name| format!("unknown log opt '{name}' for local log driver"))?;
            files(plain, &options)
        }
        "none" => Ok(LogSettings { driver: LogDriver::None, ..plain }),
        "syslog" => {
            if let Some(name) = TLS.iter().find(|name| options.contains_key(**name)) {
                return Err(unimplemented(format!("log option {name} is unimplemented: leave it out")));
            }
            known(&options, &[&SYSLOG, &EXTRA], |name| {
                format!("unknown log opt '{name}' for syslog log driver")
            })?;
            Ok(LogSettings { driver: syslog(&options)?, extra: extra(&options)?, ..plain })
        }
        other => Err(unimplemented(format!(
            "log driver {other:?} is unimplemented: use json-file, local, syslog or none"
        ))),
    }
}

fn known(options: &Options, sets: &[&[&str]], unknown: impl Fn(&str) -> String) -> Result<(), Failure> {
    let is_known = |name: &&String| {
        !COMMON.contains(&name.as_str()) && !sets.iter().any(|set| set.contains(&name.as_str()))
    };
    options.keys().find(is_known).map_or(Ok(()), |name| Err(invalid(unknown(name))))
}

/// A container never waits for its log here, whatever the mode.
fn check_mode(options: &Options) -> Result<(), Failure> {
    let mode = options.get("mode").map_or("", String::as_str);
    if !["", "blocking", "non-blocking"].contains(&mode) {
        return Err(invalid(format!("logger: logging mode not supported: {mode}")));
    }
    match options.get("max-buffer-size") {
        Some(_) if mode != "non-blocking" => {
            Err(invalid("logger: max-buffer-size option is only supported with 'mode=non-blocking'"))
        }
        Some(size) if bytes(size).is_none() => {
            Err(invalid(format!("error parsing option max-buffer-size: {size}")))
        }
        _ => Ok(()),
    }
}

fn files(mut settings: LogSettings, options: &Options) -> Result<LogSettings, Failure> {
    let bad = |name: &str| invalid(format!("log option {name}={} is not valid", options[name]));
    if let Some(size) = options.get("max-size") {
        settings.max_size = match size.as_str() {
            "-1" => u64::MAX,
            size => bytes(size).filter(|size| *size > 0).ok_or_else(|| bad("max-size"))?,
        };
        if settings.driver == LogDriver::Json {
            settings.max_files = 1;
        }
    }
    if let Some(count) = options.get("max-file") {
        settings.max_files = count.parse().ok().filter(|count| *count > 0).ok_or_else(|| bad("max-file"))?;
    }
    settings.compress = options.get("compress").map_or(Ok(false), |text| truth("compress", text))?;
    if settings.compress && settings.max_files < 2 {
        return Err(invalid("compress cannot be true when max-file is less than 2 or max-size is not set"));
    }
    Ok(settings)
}

fn truth(name: &str, text: &str) -> Result<bool, Failure> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(invalid(format!("log option {name}={text} is not valid"))),
    }
}

fn extra(options: &Options) -> Result<LogExtra, Failure> {
    let text = |name: &str| options.get(name).cloned().unwrap_or_default();
    let list = |name: &str| -> Vec<String> {
        text(name).split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect()
    };
    for name in ["labels-regex", "env-regex"] {
        if regex::Regex::new(&text(name)).is_err() {
            return Err(invalid(format!("log option {name}={} is no regular expression", text(name))));
        }
    }
    check_tag(&text("tag"))?;
    Ok(LogExtra {
        labels: list("labels"),
        labels_regex: text("labels-regex"),
        env: list("env"),
        env_regex: text("env-regex"),
        tag: text("tag"),
    })
}

fn syslog(options: &Options) -> Result<LogDriver, Failure> {
    let text = |name: &str| options.get(name).map_or("", String::as_str);
    let format = match text("syslog-format") {
        "" => SyslogFormat::Local,
        "rfc3164" => SyslogFormat::Rfc3164,
        "rfc5424" => SyslogFormat::Rfc5424,
        "rfc5424micro" => SyslogFormat::Rfc5424Micro,
        _ => return Err(invalid("Invalid syslog format")),
    };
    let is_disabled =
        options.get("cache-disabled").map_or(Ok(false), |text| truth("cache-disabled", text))?;
    Ok(LogDriver::Syslog {
        address: address(text("syslog-address"))?,
        format,
        facility: facility(text("syslog-facility"))?,
        keeps_file: !is_disabled,
    })
}

fn facility(text: &str) -> Result<u8, Failure> {
    let bad = || invalid(format!("invalid syslog facility: {text}"));
    if text.is_empty() {
        return Ok(3);
    }
    let local = || text.strip_prefix("local")?.parse::<u8>().ok().filter(|number| *number < 8);
    let named = FACILITIES.iter().position(|name| *name == text).and_then(|at| u8::try_from(at).ok());
    named
        .or_else(|| local().map(|number| 16 + number))
        .or_else(|| text.parse().ok().filter(|number| *number < 24))
        .ok_or_else(bad)
}

fn address(text: &str) -> Result<LogAddress, Failure> {
    if text.is_empty() {
        return Ok(LogAddress::Local);
    }
    let bad = || {
        invalid(format!("unsupported syslog address {text:?}: use unix://, unixgram://, udp:// or tcp://"))
    };
    let (scheme, rest) = text.split_once("://").ok_or_else(bad)?;
    let path = || Some(PathBuf::from(rest)).filter(|path| path.is_absolute()).ok_or_else(bad);
    let place = || {
        let has_port = rest
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.ends_with(':') && port.parse::<u16>().is_ok());
        match rest.is_empty() {
            true => Err(bad()),
            false if has_port => Ok(rest.to_owned()),
            false => Ok(format!("{rest}:514")),
        }
    };
    match scheme {
        "unix" => Ok(LogAddress::Stream(path()?)),
        "unixgram" => Ok(LogAddress::Datagram(path()?)),
        "udp" => Ok(LogAddress::Udp(place()?)),
        "tcp" => Ok(LogAddress::Tcp(place()?)),
        "tcp+tls" => {
            Err(unimplemented("syslog over tcp+tls is unimplemented: use tcp, udp or a unix socket"))
        }
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(driver: &str, options: &[(&str, &str)]) -> Result<LogSettings, String> {
        let config = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let config = LogConfig { r#type: driver.to_owned(), config: Some(config) };
        log_settings(Some(&config)).map_err(|failure| failure.0.chain())
    }

    #[test]
    fn the_files_of_a_log_have_docker_s_options() {
        let json = read("", &[("max-size", "10k"), ("max-file", "3"), ("compress", "true")]).unwrap();
        assert_eq!((json.max_size, json.max_files, json.compress), (10 << 10, 3, true));
        assert_eq!(json.driver, LogDriver::Json);
        assert_eq!(read("json-file", &[("max-size", "1m")]).unwrap().max_files, 1);
        assert_eq!(read("local", &[]).unwrap().driver, LogDriver::Cri);
        let extra = read("json-file", &[("labels", "a,b"), ("tag", "{{.Name}}")]).unwrap().extra;
        assert_eq!((extra.labels, extra.tag), (vec!["a".to_owned(), "b".to_owned()], "{{.Name}}".to_owned()));
    }

    #[test]
    fn options_that_a_driver_has_not_are_refused_as_docker_does() {
        let words = |driver, options: &[(&str, &str)]| read(driver, options).unwrap_err();
        assert_eq!(
            words("json-file", &[("colour", "red")]),
            "unknown log opt 'colour' for json-file log driver"
        );
        assert!(words("local", &[("labels", "a")]).contains("unknown log opt 'labels'"));
        assert!(words("json-file", &[("max-size", "1m"), ("compress", "true")]).contains("compress cannot"));
        assert!(words("json-file", &[("mode", "later")]).contains("logging mode not supported: later"));
        assert!(words("json-file", &[("max-buffer-size", "1m")]).contains("max-buffer-size"));
        assert!(words("json-file", &[("tag", "{{.Node}}")]).contains("log tag"));
        assert!(words("json-file", &[("env-regex", "(")]).contains("env-regex"));
        assert!(words("fluentd", &[]).contains("fluentd"));
        assert!(words("syslog", &[("syslog-tls-cert", "x")]).contains("syslog-tls-cert"));
    }

    #[test]
    fn a_log_daemon_is_named_by_address_facility_and_format() {
        let options = [
            ("syslog-address", "udp://[::1]:1514"),
            ("syslog-facility", "local7"),
            ("syslog-format", "rfc5424"),
        ];
        let LogDriver::Syslog { address, format, facility, keeps_file } =
            read("syslog", &options).unwrap().driver
        else {
            panic!("no syslog")
        };
        assert_eq!((address, facility), (LogAddress::Udp("[::1]:1514".into()), 23));
        assert!(format == SyslogFormat::Rfc5424 && keeps_file);
        assert_eq!(super::address("tcp://logs").ok(), Some(LogAddress::Tcp("logs:514".into())));
        assert!(super::address("http://x").is_err() && super::address("unix://x").is_err());
        assert_eq!(super::facility("").ok(), Some(3));
        assert!(super::facility("nobody").is_err() && super::facility("24").is_err());
        assert_eq!(super::facility("cron").ok(), Some(9));
    }
}
