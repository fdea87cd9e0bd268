//! What of the table `serve` cannot be meant so, beside what its types say.
//!
//! - In: the table as it was read. Out: the table with absolute paths, and findings, each with its keys.
//! - Not here: secrets. That they are references is checked, and nothing is looked up.

use super::{GitHub, Serve};
use crate::config::finding::Finding;
use crate::config::mistake::nearest;
use crate::config::secret::{FORMS, Reference};
use crate::context::expand;
use reqwest::header::HeaderName;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Makes the paths absolute, as those of pipelines are, and says what is wrong.
pub(in crate::config) fn settle(serve: &mut Serve, folder: &Path) -> Vec<Finding> {
    let mut check = Check {
        folder,
        findings: Vec::new(),
    };
    for origin in &serve.origins {
        check.origin(origin);
    }
    if let Some(proxy) = &serve.proxy {
        check.header("user_header", &proxy.user_header);
        check.header("groups_header", &proxy.groups_header);
    }
    for (name, path) in &mut serve.roots {
        check.name(&["roots", name.as_str()], name);
        check.path(&["roots", name.as_str()], path);
    }
    if let Some(tls) = &mut serve.tls {
        check.path(&["tls", "certificate"], &mut tls.certificate);
        check.path(&["tls", "key"], &mut tls.key);
        if let Some(clients) = &mut tls.clients {
            check.path(&["tls", "clients"], clients);
        }
    }
    for path in &mut serve.agents.secrets {
        let written = path.display().to_string();
        check.path(&["agents", "secrets", &written], path);
    }
    for name in &serve.agents.trusted {
        check.trusted(name);
    }
    for (name, machine) in &mut serve.machines {
        check.name(&["machines", name.as_str()], name);
        check.filled(&["machines", name.as_str(), "id"], &machine.id);
        if let Some(program) = &mut machine.program {
            check.path(&["machines", name.as_str(), "program"], program);
        }
    }
    if let Some(docker) = &mut serve.docker {
        check.path(&["docker", "socket"], &mut docker.socket);
        for container in &docker.containers {
            check.filled(&["docker", "containers", container.as_str()], container);
        }
    }
    for (name, build) in &mut serve.builds {
        check.name(&["builds", name.as_str()], name);
        check.path(&["builds", name.as_str(), "folder"], &mut build.folder);
        let program = build.command.first().map_or("", String::as_str);
        check.filled(&["builds", name.as_str(), "command"], program);
    }
    if let Some(github) = &mut serve.github {
        check.github(github);
    }
    check.findings
}

struct Check<'a> {
    folder: &'a Path,
    findings: Vec<Finding>,
}

impl Check<'_> {
    fn wrong(&mut self, keys: &[&str], message: impl Into<String>, help: impl Into<String>) {
        self.findings.push(Finding::new("serve", keys, message, help));
    }

    /// Makes one path absolute.
    fn path(&mut self, keys: &[&str], path: &mut PathBuf) {
        // TOML is UTF-8, and so is what was read from it.
        let expanded = expand(path.to_str().unwrap_or_default(), self.folder);
        match expanded {
            Ok(expanded) => *path = expanded,
            Err(reason) => self.wrong(keys, format!("`{}`: {reason}", dotted(keys)), ""),
        }
    }

    /// Refuses a name that could be taken for something else in a path or a URL.
    fn name(&mut self, keys: &[&str], name: &str) {
        if schemas::SourceName::new(name).is_err() {
            let help = "use 1 to 64 lower case letters, digits, `-` and `_`";
            self.wrong(keys, format!("`{}`: `{name}` is not a name", dotted(keys)), help);
        }
    }

    /// Refuses what no browser sends: it would allow nobody, and say so to nobody.
    fn origin(&mut self, origin: &str) {
        if !is_origin(origin) {
            let help =
                "write scheme, host and port as a browser sends them, such as https://home.example.org";
            self.wrong(&["origins", origin], format!("`{origin}` is no origin"), help);
        }
    }

    /// Refuses what no header is called.
    fn header(&mut self, key: &str, name: &str) {
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            let message = format!("`serve.proxy.{key}`: `{name}` is not the name of a header");
            self.wrong(&["proxy", key], message, "");
        }
    }

    fn filled(&mut self, keys: &[&str], text: &str) {
        if text.is_empty() {
            self.wrong(keys, format!("`{}`: it is empty", dotted(keys)), "");
        }
    }

    fn trusted(&mut self, name: &str) {
        let acts = |operation: &&serve::operation::Operation| operation.plan.is_some();
        let acting: Vec<&str> = serve::registry::ALL
            .iter()
            .copied()
            .filter(acts)
            .map(|operation| operation.name)
            .collect();
        if acting.contains(&name) {
            return;
        }
        let message = match serve::registry::by_name(name) {
            Some(_) => format!("`{name}` needs no approval, so there is nothing to trust"),
            None => format!("there is no operation `{name}`"),
        };
        self.wrong(&["agents", "trusted", name], message, nearest(name, acting));
    }

    fn github(&mut self, github: &mut GitHub) {
        if let Err(reason) = check_address(&github.api) {
            self.wrong(
                &["github", "api"],
                format!("`serve.github.api`: {reason}"),
                "api = \"https://api.github.com\" is GitHub's own",
            );
        }
        let whole = github.api.trim_end_matches('/').len();
        github.api.truncate(whole);
        match github
            .token
            .as_deref()
            .map(|text| Reference::parse(text, self.folder))
        {
            Some(None) => self.wrong(
                &["github", "token"],
                "`serve.github.token` is a secret and must not be in the file",
                FORMS,
            ),
            Some(Some(Err(reason))) => {
                self.wrong(
                    &["github", "token"],
                    format!("`serve.github.token`: {reason}"),
                    "",
                );
            }
            Some(Some(Ok(_))) | None => {}
        }
        for repository in &github.repositories {
            let is_whole = repository
                .split_once('/')
                .is_some_and(|(owner, name)| is_part(owner) && is_part(name));
            if !is_whole {
                self.wrong(
                    &["github", "repositories", repository],
                    format!("`{repository}` is no repository"),
                    "write owner/name",
                );
            }
        }
        for workflow in &github.workflows {
            if !is_part(workflow) {
                self.wrong(
                    &["github", "workflows", workflow],
                    format!("`{workflow}` is no file of a workflow"),
                    "write its name without folders, such as deploy.yml",
                );
            }
        }
    }
}

/// Whether it is one origin as browsers write it: in lower case, without the port that is usual, and with nothing after it.
fn is_origin(text: &str) -> bool {
    reqwest::Url::parse(text).is_ok_and(|url| {
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        // By the rules of addresses a host may be called `*`; here it would be meant as any.
        let host = url
            .host_str()
            .filter(|host| !host.is_empty() && !host.contains('*'));
        host.is_some_and(|host| format!("{}://{host}{port}", url.scheme()) == text)
    })
}

/// Whether GitHub allows it as a name of an owner, a repository or a file.
fn is_part(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !matches!(text, "" | "." | "..") && text.bytes().all(allowed)
}

/// A token goes there, so nobody on the way may read it.
pub(in crate::config) fn check_address(text: &str) -> Result<(), &'static str> {
    let Ok(address) = reqwest::Url::parse(text) else {
        return Err("it is no address");
    };
    if !address.username().is_empty() || address.password().is_some() {
        return Err("a user or password does not belong into it; use `token`");
    }
    if address.query().is_some() || address.fragment().is_some() {
        return Err("it has more than a host and a path");
    }
    let is_here = address.host_str().is_some_and(is_here);
    match address.scheme() {
        "https" => Ok(()),
        "http" if is_here => Ok(()),
        "http" => Err("the token could be read on the way; write https"),
        _ => Err("it must begin with https://"),
    }
}

/// Whether a host is this machine, whatever a name server says.
pub(in crate::config) fn is_here(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn dotted(keys: &[&str]) -> String {
    format!("serve.{}", keys.join("."))
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use std::path::Path;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("/etc/dkc/dkc.toml"), "dkc.toml").map_err(|error| {
            let related = error.related().into_iter().flatten().map(|one| one.to_string());
            std::iter::once(error.to_string())
                .chain(related)
                .collect::<Vec<_>>()
                .join("\n")
        })
    }

    #[test]
    fn nothing_beside_the_lake_is_allowed_by_default() {
        let serve = parse("").unwrap().serve;
        assert!(serve.roots.is_empty() && serve.machines.is_empty() && serve.builds.is_empty());
        assert!(serve.docker.is_none() && serve.github.is_none());
        assert!(serve.agents.secrets.is_empty() && serve.agents.trusted.is_empty());
    }

    #[test]
    fn paths_are_relative_to_the_file_or_the_home_directory() {
        let home = etcetera::home_dir().unwrap();
        let text = "[serve]\nroots = { code = \"~/code\", here = \"plans\" }\n[serve.agents]\nsecrets = [\"keys\"]\n\
                    [serve.builds.site]\nabout = \"it\"\nfolder = \"site\"\ncommand = [\"make\"]\n\
                    [serve.docker]\nsocket = \"docker.sock\"\ncontainers = []\n";
        let serve = parse(text).unwrap().serve;
        assert_eq!(serve.roots["code"], home.join("code"));
        assert_eq!(serve.roots["here"], Path::new("/etc/dkc/plans"));
        assert_eq!(serve.agents.secrets, [Path::new("/etc/dkc/keys")]);
        assert_eq!(serve.builds["site"].folder, Path::new("/etc/dkc/site"));
        assert_eq!(serve.builds["site"].minutes.get(), 30);
        assert_eq!(serve.docker.unwrap().socket, Path::new("/etc/dkc/docker.sock"));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_key() {
        let machine = "[serve.machines.web]\ncloud = \"gcloud\"\nid = ";
        let build = "[serve.builds.site]\nabout = \"it\"\nfolder = \"site\"\ncommand = ";
        for (text, words) in [
            (
                "[serve.roots]\n\"My Code\" = \"code\"".to_owned(),
                "serve.roots.My Code",
            ),
            (
                "[serve.roots]\ncode = \"\"".to_owned(),
                "`serve.roots.code`: the path is empty",
            ),
            (
                "[serve.agents]\nsecrets = [\"~root/keys\"]".to_owned(),
                "another user's home",
            ),
            (
                "[serve.agents]\ntrusted = [\"nothing_such\"]".to_owned(),
                "there is no operation `nothing_such`",
            ),
            (
                "[serve.agents]\ntrusted = [\"list_datasets\"]".to_owned(),
                "`list_datasets` needs no approval",
            ),
            (format!("{machine}\"\""), "`serve.machines.web.id`: it is empty"),
            (
                format!("{machine}\"web-1\"\nzone = \"b\""),
                "unknown field `zone`",
            ),
            (
                "[serve.machines.web]\ncloud = \"aws\"\nid = \"a\"".to_owned(),
                "unknown variant `aws`",
            ),
            (
                "[serve.proxy]\naddresses = []\nroles = { home = \"boss\" }".to_owned(),
                "unknown variant `boss`",
            ),
            (
                "[serve.proxy]\naddresses = []\nroles = {}\nuser_header = \"Remote User\"".to_owned(),
                "`serve.proxy.user_header`: `Remote User` is not the name of a header",
            ),
            (format!("{build}[]"), "`serve.builds.site.command`: it is empty"),
            (format!("{build}[\"make\"]\nminutes = 0"), "nonzero"),
        ] {
            let told = parse(&text).unwrap_err();
            assert!(told.contains(words), "{text}: {told}");
        }
    }

    #[test]
    fn an_origin_is_one_as_a_browser_sends_it_and_never_everybody() {
        let origins = |origin: &str| parse(&format!("[serve]\norigins = [\"{origin}\"]"));
        for origin in [
            "https://home.example.org",
            "https://home.example.org:8443",
            "http://localhost:3000",
            "http://[::1]:3000",
            "moz-extension://0a1b2c3d",
        ] {
            assert_eq!(origins(origin).unwrap().serve.origins, [origin]);
        }
        for origin in [
            "*",
            "null",
            "",
            "home.example.org",
            "https://*.example.org",
            "https://home.example.org/",
            "https://home.example.org/app",
            "https://home.example.org:443",
            "https://Home.example.org",
            "https://me@home.example.org",
            "https://home.example.org?a=b",
            "file://",
            "https://home.example.org ",
        ] {
            let told = origins(origin).unwrap_err();
            assert!(told.contains(&format!("`{origin}` is no origin")), "{told}");
        }
    }

    #[test]
    fn a_token_is_a_reference_and_goes_only_where_nobody_can_read_it() {
        let github = |keys: &str| parse(&format!("[serve.github]\nrepositories = [\"me/site\"]\n{keys}"));
        let serve = github("api = \"https://github.example.org/api/v3/\"\ntoken = \"file:token\"")
            .unwrap()
            .serve;
        assert_eq!(serve.github.unwrap().api, "https://github.example.org/api/v3");
        for here in ["http://127.0.0.1:9000", "http://[::1]:9000", "http://localhost"] {
            github(&format!("api = \"{here}\"")).unwrap();
        }
        for (keys, words) in [
            ("token = \"ghp_hunter2\"", "must not be in the file"),
            ("api = \"http://github.example.org\"", "could be read on the way"),
            (
                "api = \"http://127.0.0.1.example.org\"",
                "could be read on the way",
            ),
            (
                "api = \"https://me:hunter2@github.example.org\"",
                "does not belong into it",
            ),
            (
                "api = \"https://github.example.org/?a=b\"",
                "more than a host and a path",
            ),
            ("api = \"file:///etc/passwd\"", "must begin with https://"),
            ("api = \"github\"", "it is no address"),
            ("workflows = [\"../deploy.yml\"]", "no file of a workflow"),
        ] {
            let told = github(keys).unwrap_err();
            assert!(
                told.contains(words) && !told.contains("hunter2"),
                "{keys}: {told}"
            );
        }
        for repository in ["site", "me/", "/site", "me/site/x", "../..", "me/a?b"] {
            let told = parse(&format!("[serve.github]\nrepositories = [\"{repository}\"]")).unwrap_err();
            assert!(
                told.contains("write owner/name") || told.contains("is no repository"),
                "{told}"
            );
        }
    }
}
