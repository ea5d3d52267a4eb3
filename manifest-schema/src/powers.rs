//! Reading what a plugin asks for: permissions, hosts, folders, secrets and packages. Whether it gets them is decided in `policy`.

use crate::{
    Dependency, DependencySource, Filesystem, Network, Permission, SecretSpec,
    fields::{Field, Lines, MAX_DESCRIPTION, Section},
    keys, packages,
    report::Report,
    rules,
    tree::{Kind, quote},
};

/// The powers of a manifest.
pub(crate) struct Powers {
    pub(crate) permissions: Vec<Permission>,
    pub(crate) network: Option<Network>,
    pub(crate) filesystem: Option<Filesystem>,
    pub(crate) secrets: Vec<SecretSpec>,
}

pub(crate) fn read(report: &mut Report, root: &Section<'_>) -> Powers {
    Powers {
        permissions: permissions(report, root),
        network: network(report, root),
        filesystem: filesystem(report, root),
        secrets: secrets(report, root),
    }
}

fn permissions(report: &mut Report, root: &Section<'_>) -> Vec<Permission> {
    let words = Permission::ALL.map(|permission| (permission.as_str(), permission));
    let mut permissions = Vec::new();
    for item in root.items(report, "permissions", 64) {
        let Some(permission) = item.choice(report, &words) else { continue };
        if permissions.contains(&permission) {
            item.duplicate(report, permission.as_str());
        } else {
            permissions.push(permission);
        }
    }
    permissions
}

fn network(report: &mut Report, root: &Section<'_>) -> Option<Network> {
    let section = Section::open(report, &root.get("network")?, keys::NETWORK)?;
    Some(Network { hosts: section.words(report, "hosts", 64, 260, rules::host) })
}

fn filesystem(report: &mut Report, root: &Section<'_>) -> Option<Filesystem> {
    let section = Section::open(report, &root.get("filesystem")?, keys::FILESYSTEM)?;
    Some(Filesystem {
        read: section.words(report, "read", 32, 1000, rules::folder),
        write: section.words(report, "write", 32, 1000, rules::folder),
    })
}

fn secrets(report: &mut Report, root: &Section<'_>) -> Vec<SecretSpec> {
    let mut secrets: Vec<SecretSpec> = Vec::new();
    for item in root.items(report, "secrets", 64) {
        let Some(section) = Section::open(report, &item, keys::SECRET) else { continue };
        let field = section.require(report, "name", "the name of the secret");
        let name = field.as_ref().and_then(|field| field.ruled(report, 64, rules::secret_name));
        let description = section.text(report, "description", MAX_DESCRIPTION, Lines::Many);
        let required = section.flag(report, "required", true);
        let (Some(name), Some(field)) = (name, field) else { continue };
        if secrets.iter().any(|secret| secret.name == name) {
            field.duplicate(report, &name);
        } else {
            secrets.push(SecretSpec { name, description, required });
        }
    }
    secrets
}

const SOURCES: &[(&str, DependencySource)] = &[
    ("pypi", DependencySource::Pypi),
    ("marketplace", DependencySource::Marketplace),
    ("git", DependencySource::Git),
    ("npm", DependencySource::Npm),
];

/// The packages; each project once.
pub(crate) fn dependencies(report: &mut Report, root: &Section<'_>) -> Vec<Dependency> {
    let mut dependencies: Vec<Dependency> = Vec::new();
    let same = |one: &Dependency, name: &str, source| match source {
        DependencySource::Pypi => one.source == source && packages::normalised(&one.name) == packages::normalised(name),
        _ => one.source == source && one.name == name,
    };
    for item in root.items(report, "dependencies", 256) {
        let Some((dependency, field)) = dependency(report, &item) else { continue };
        if dependencies.iter().any(|one| same(one, &dependency.name, dependency.source)) {
            report
                .add("manifest.duplicate", field.node.place, &field.path, "is given twice")
                .expected("each package once")
                .found(quote(&dependency.name));
        } else {
            dependencies.push(dependency);
        }
    }
    dependencies
}

fn text_of<'n>(field: &Field<'n>) -> Option<&'n str> {
    match &field.node.kind {
        Kind::Text(text) => Some(text),
        _ => None,
    }
}

fn dependency<'n>(report: &mut Report, item: &Field<'n>) -> Option<(Dependency, Field<'n>)> {
    if let Some(mapping) = text_of(item).and_then(packages::as_mapping) {
        report
            .add("manifest.wrong_type", item.node.place, &item.path, "has the wrong type")
            .expected("a mapping")
            .found(item.node.describe())
            .hint(format!("write `{mapping}`"));
        return None;
    }
    let section = Section::open(report, item, keys::DEPENDENCY)?;
    let source = section.choice(report, "source", SOURCES);
    let source = if section.get("source").is_some() { source? } else { DependencySource::Pypi };
    let field = section.require(report, "name", "the name of the package");
    let name = field.as_ref().and_then(|field| field.ruled(report, 200, |text| packages::dependency_name(source, text)));
    let version = section.ruled(report, "version", 200, |text| packages::dependency_version(source, text));
    let optional = section.flag(report, "optional", false);
    Some((Dependency { name: name?, version, source, optional }, field?))
}
