//! Goal: what the change log says, what a snapshot says and what follows from the rows are the same, and no generation leaves a name of
//! what is not there, which proxies would refuse. Method: random changes by everybody's functions; after each, the log is replayed into a
//! map from key to record and held against the snapshot and the rows, and every reference in the map is looked up.
#![expect(clippy::wildcard_enum_match_arm, reason = "what one function does not do, the next one does")]

use std::collections::BTreeMap;

use cube_wire::feed::ChangeLine;
use cube_wire::record::{Condition, DomainStatus, Matcher};
use cube_wire::seal::FleetKey;
use cube_wire::{ClusterId, DomainId, Key, PatId, Record, UserId};
use proptest::prelude::*;
use proptest::sample::select;

use super::deployments::{CredentialChange, DeploymentChange, EndpointChange};
use super::domains::NewDomain;
use super::models::{ModelChange, NewModel};
use super::pats::NewPat;
use super::roles::{NewRole, RolePlace};
use super::routes::NewRoute;
use super::scopes::NewScope;
use super::users::NewUser;
use super::{App, AppError, Asker, Principal, Via};
use crate::settings::Settings;
use crate::store::domains::DomainChange;
use crate::store::scratch::Scratch;
use crate::store::users::UserChange;
use crate::store::{derive, feed};

/// Kinds of changes.
#[derive(Clone, Copy, Debug)]
enum What {
    AddUser,
    DisableUser,
    DeleteUser,
    AddDomain,
    ChangeDomain,
    CloseDomain,
    DeleteDomain,
    AddRole,
    ChangeActions,
    ChangeMembers,
    RemoveFromDomain,
    DeleteRole,
    Invite,
    AddDeployment,
    ChangeDeployment,
    DeleteDeployment,
    AddModel,
    ChangeModel,
    DeleteModel,
    SetDefault,
    AddRoute,
    ReplaceRoute,
    DeleteRoute,
    AddPat,
    RevokePat,
    ClearScopes,
    DeletePat,
}

const ALL: [What; 27] = {
    use What::{
        AddDeployment, AddDomain, AddModel, AddPat, AddRole, AddRoute, AddUser, ChangeActions,
        ChangeDeployment, ChangeDomain, ChangeMembers, ChangeModel, ClearScopes, CloseDomain,
        DeleteDeployment, DeleteDomain, DeleteModel, DeletePat, DeleteRole, DeleteRoute, DeleteUser,
        DisableUser, Invite, RemoveFromDomain, ReplaceRoute, RevokePat, SetDefault,
    };
    [
        AddUser,
        DisableUser,
        DeleteUser,
        AddDomain,
        ChangeDomain,
        CloseDomain,
        DeleteDomain,
        AddRole,
        ChangeActions,
        ChangeMembers,
        RemoveFromDomain,
        DeleteRole,
        Invite,
        AddDeployment,
        ChangeDeployment,
        DeleteDeployment,
        AddModel,
        ChangeModel,
        DeleteModel,
        SetDefault,
        AddRoute,
        ReplaceRoute,
        DeleteRoute,
        AddPat,
        RevokePat,
        ClearScopes,
        DeletePat,
    ]
};

/// One change; the numbers choose among what is there.
#[derive(Clone, Copy, Debug)]
struct Step {
    what: What,
    a: usize,
    b: usize,
    c: usize,
    flag: bool,
}

/// What the changes have made so far; much of it is gone again.
struct World {
    app: App,
    root: Principal,
    users: Vec<UserId>,
    domains: Vec<DomainId>,
    roles: Vec<(DomainId, String)>,
    pats: Vec<(UserId, PatId)>,
    made: usize,
    /// The change log, replayed.
    replayed: BTreeMap<Key, Record>,
    generation: u64,
}

fn pick<T: Clone>(among: &[T], at: usize) -> Result<T, AppError> {
    among.get(at % among.len().max(1)).cloned().ok_or(AppError::NotFound("nothing yet"))
}

const NAMES: [&str; 3] = ["x", "y", "z"];

fn name(at: usize) -> &'static str {
    NAMES[at % NAMES.len()]
}

fn login_of(user: UserId) -> Principal {
    Principal { user, superadmin: false, via: Via::Login { login: "l".to_owned() } }
}

impl World {
    async fn begin(scratch: &Scratch) -> Self {
        let store = scratch.open().await;
        let key = FleetKey::generate().expect("randomness");
        let app = App::new(store, Settings::default().into(), key).await.expect("an empty world");
        let new = NewUser { username: "root".to_owned(), superadmin: true, ..NewUser::default() };
        let local = super::users::local_operator();
        let root = app.create_user(&local, &Asker::default(), new).await.expect("a first user").id;
        let root = Principal { superadmin: true, ..login_of(root) };
        Self {
            app,
            users: vec![root.user],
            root,
            domains: Vec::new(),
            roles: Vec::new(),
            pats: Vec::new(),
            made: 0,
            replayed: BTreeMap::new(),
            generation: 0,
        }
    }

    async fn people(&mut self, Step { what, a, b, c, flag }: Step) -> Result<(), AppError> {
        let (app, root, asker) = (&self.app, &self.root, &Asker::default());
        self.made += 1;
        match what {
            What::AddUser => {
                let new = NewUser { username: format!("u{}", self.made), ..NewUser::default() };
                self.users.push(app.create_user(root, asker, new).await?.id);
            }
            What::DisableUser => {
                let change = UserChange { enabled: Some(flag), ..UserChange::default() };
                app.change_user(root, asker, pick(&self.users, a)?, "user.update", change).await?;
            }
            What::DeleteUser => app.delete_user(root, asker, pick(&self.users, a)?).await?,
            What::AddPat => {
                let user = pick(&self.users, a)?;
                let scope = |domain: DomainId, entity_type: &str, entity_id: &str| NewScope {
                    entity_type: entity_type.to_owned(),
                    domain: Some(domain),
                    entity_id: entity_id.to_owned(),
                    operation: "llm_read".to_owned(),
                };
                let scopes = match self.domains.is_empty() {
                    true => Vec::new(),
                    false => vec![
                        scope(pick(&self.domains, b)?, "domains", "*"),
                        scope(pick(&self.domains, c)?, "models", name(b)),
                    ],
                };
                let full_access = scopes.is_empty();
                let pat = format!("p{}", self.made);
                let new =
                    NewPat { name: pat, duration: "1h".to_owned(), scopes, full_access, ..NewPat::default() };
                let owner = Principal { superadmin: user == root.user, ..login_of(user) };
                let issued = app.create_pat(&owner, asker, new).await?;
                self.pats.push((user, issued.row.id));
            }
            What::RevokePat | What::ClearScopes | What::DeletePat => {
                let (user, pat) = pick(&self.pats, a)?;
                let owner = login_of(user);
                match what {
                    What::RevokePat => app.revoke_pat(&owner, asker, pat).await.map(drop)?,
                    What::ClearScopes => app.clear_scopes(&owner, asker, pat).await.map(drop)?,
                    _ => app.delete_pat(&owner, asker, pat).await.map(drop)?,
                }
            }
            _ => self.places(Step { what, a, b, c, flag }).await?,
        }
        Ok(())
    }

    async fn places(&mut self, Step { what, a, b, c, flag }: Step) -> Result<(), AppError> {
        let (app, root, asker) = (&self.app, &self.root, &Asker::default());
        match what {
            What::AddDomain => {
                let maker = login_of(pick(&self.users, a)?);
                let alias = flag.then(|| format!("alias{}", b % 4));
                let new = NewDomain { name: "d".to_owned(), alias, ..NewDomain::default() };
                self.domains.push(app.create_domain(&maker, asker, new).await?.id);
            }
            What::ChangeDomain => {
                let alias = flag.then(|| format!("alias{}", b % 4));
                let change = DomainChange { name: Some("e".to_owned()), alias, ..DomainChange::default() };
                app.change_domain(root, asker, pick(&self.domains, a)?, change).await?;
            }
            What::CloseDomain => {
                let status = [DomainStatus::Enabled, DomainStatus::Disabled, DomainStatus::Freezed][b % 3];
                app.set_domain_status(root, asker, pick(&self.domains, a)?, status).await?;
            }
            What::DeleteDomain => app.delete_domain(root, asker, pick(&self.domains, a)?).await?,
            What::AddRole => {
                let domain = pick(&self.domains, a)?;
                let (members, actions) = (vec![pick(&self.users, b)?], vec!["read".to_owned()]);
                let actions = if flag { actions } else { Vec::new() };
                let new = NewRole { name: name(c).to_owned(), actions, members };
                self.roles.push((domain, app.create_role(root, asker, domain, new).await?.id));
            }
            What::RemoveFromDomain => {
                let members = [pick(&self.users, b)?];
                app.remove_from_domain(root, asker, pick(&self.domains, a)?, &members).await?;
            }
            What::ChangeActions | What::ChangeMembers | What::DeleteRole | What::Invite => {
                let (domain, role) = pick(&self.roles, a)?;
                let place = RolePlace { domain, role: &role };
                let (user, action) = (pick(&self.users, b)?, ["llm_read".to_owned()]);
                match (what, flag) {
                    (What::ChangeActions, true) => {
                        app.add_role_actions(root, asker, place, &action).await?;
                    }
                    (What::ChangeActions, false) => {
                        app.remove_role_actions(root, asker, place, None).await?;
                    }
                    (What::ChangeMembers, true) => {
                        app.add_role_members(root, asker, place, &[user]).await?;
                    }
                    (What::ChangeMembers, false) => {
                        app.remove_role_members(root, asker, place, Some(&[user])).await?;
                    }
                    (What::Invite, _) => {
                        app.invite(root, asker, domain, (user, &role), true).await?;
                        app.accept_invitation(&login_of(user), asker, domain).await?;
                    }
                    _ => app.delete_role(root, asker, place).await?,
                }
            }
            _ => self.routing(Step { what, a, b, c, flag }).await?,
        }
        Ok(())
    }

    async fn routing(&mut self, Step { what, a, b, c, flag }: Step) -> Result<(), AppError> {
        let (app, root, asker) = (&self.app, &self.root, &Asker::default());
        let deployment = flag.then(|| name(c).to_owned());
        match what {
            What::AddDeployment | What::ChangeDeployment => {
                let credential = match flag {
                    true => CredentialChange::Set { header: "x-key".to_owned(), value: "v".to_owned() },
                    false => CredentialChange::Keep,
                };
                let url = format!("http://h:{}", 1 + b % 2);
                let endpoints = Some(vec![EndpointChange { url, weight: None, credential }]);
                let change = DeploymentChange { endpoints, ..DeploymentChange::default() };
                match what {
                    What::AddDeployment => app.create_deployment(root, asker, name(a), change).await?,
                    _ => app.change_deployment(root, asker, name(a), change).await?,
                };
            }
            What::DeleteDeployment => app.delete_deployment(root, asker, name(a)).await?,
            What::AddModel => {
                let new = NewModel { name: name(b).to_owned(), deployment, upstream_model: None };
                app.create_model(root, asker, pick(&self.domains, a)?, new).await?;
            }
            What::ChangeModel => {
                let change = ModelChange { deployment: Some(deployment), upstream_model: None };
                app.change_model(root, asker, pick(&self.domains, a)?, name(b), change).await?;
            }
            What::DeleteModel => {
                app.delete_model(root, asker, pick(&self.domains, a)?, name(b)).await?;
            }
            What::SetDefault => {
                let domain = pick(&self.domains, a)?;
                app.set_default_deployment(root, asker, domain, deployment.as_deref()).await?;
            }
            What::DeleteRoute => app.delete_route(root, asker, name(a)).await?,
            _ => {
                let matcher = Matcher {
                    condition: Condition::Path,
                    field: String::new(),
                    pattern: "/x".to_owned(),
                    is_regex: false,
                };
                let default_rule = c % 3 == 0;
                let new = NewRoute {
                    name: name(b).to_owned(),
                    domain: if a % 2 == 0 { self.domains.last().copied() } else { None },
                    target_url: (!flag).then(|| format!("http://t:{}", 1 + c % 5)),
                    deployment,
                    matchers: if default_rule { Vec::new() } else { vec![matcher] },
                    priority: 0,
                    default_rule,
                    strip_prefix: String::new(),
                    operation: None,
                    event_type: String::new(),
                    enabled: c % 4 != 1,
                };
                match what {
                    What::AddRoute => app.create_route(root, asker, new).await?,
                    _ => app.replace_route(root, asker, name(a), new).await?,
                };
            }
        }
        Ok(())
    }

    /// Replays what is new in the log, looks every reference up, and holds the whole against a snapshot and the rows.
    async fn check(&mut self) {
        let mut connection = self.app.store.read().await.expect("a connection");
        let deltas = feed::deltas(&mut connection, self.generation, 1_000).await.expect("the log");
        for delta in deltas.expect("the log is whole") {
            for line in &delta.lines {
                match ChangeLine::from_line(line.as_bytes()).expect("a line").expect("of a known kind") {
                    ChangeLine::Put(record) => {
                        self.replayed.insert(record.key().expect("no heading"), record);
                    }
                    ChangeLine::Remove(key) => drop(self.replayed.remove(&key)),
                }
            }
            self.generation = delta.generation;
            for (key, record) in &self.replayed {
                for named in named_by(record) {
                    assert!(self.replayed.contains_key(&named), "{key} names {named}, which is not there");
                }
            }
        }
        let mut snapshot = self.app.store.snapshot().await.expect("a snapshot");
        assert_eq!(snapshot.state.generation, self.generation);
        let mut published = BTreeMap::new();
        while let Some(page) = snapshot.next_page().await.expect("a page") {
            let records = page
                .lines()
                .map(|line| Record::from_line(line.as_bytes()).expect("a record").expect("a known kind"));
            published.extend(records.map(|record| (record.key().expect("no heading"), record)));
        }
        let mut derived = BTreeMap::new();
        for key in derive::every_key(&mut connection).await.expect("the rows") {
            if let Some(record) = derive::record(&mut connection, &key).await.expect("the rows") {
                derived.insert(key, record);
            }
        }
        for (key, record) in &derived {
            assert_eq!(self.replayed.get(key), Some(record), "{key} was not told as it is");
            assert_eq!(published.get(key), Some(record), "{key} is not published as it is");
        }
        for key in self.replayed.keys().chain(published.keys()) {
            assert!(derived.contains_key(key), "{key} is gone, and that was not told");
        }
    }
}

/// What a record names.
fn named_by(record: &Record) -> Vec<Key> {
    let cluster = |id: &ClusterId| Key::Cluster(id.clone());
    match record {
        Record::Snapshot(_) | Record::Cluster(_) | Record::User(_) | Record::Key(_) => Vec::new(),
        Record::Domain(domain) => domain.default_cluster.iter().map(cluster).collect(),
        Record::Model(model) => vec![Key::Domain(model.domain), cluster(&model.cluster)],
        Record::Grant(grant) => vec![Key::User(grant.user), Key::Domain(grant.domain)],
        Record::Pat(pat) => {
            let domains = pat.scopes.iter().filter_map(|scope| scope.domain_id).map(Key::Domain);
            domains.chain([Key::User(pat.user)]).collect()
        }
        Record::Route(route) => {
            route.domain.map(Key::Domain).into_iter().chain([cluster(&route.cluster)]).collect()
        }
    }
}

async fn replay(steps: &[Step]) {
    let furnished = furnished();
    let scratch = Scratch::new().await;
    let mut world = World::begin(&scratch).await;
    world.check().await;
    for step in &furnished {
        world.people(*step).await.unwrap_or_else(|error| panic!("{step:?}: {error}"));
        world.check().await;
    }
    for step in steps {
        if let Err(AppError::Internal(error)) = world.people(*step).await {
            panic!("{step:?}: {error}");
        }
        world.check().await;
    }
    world.app.store.close().await;
}

fn step() -> impl Strategy<Value = Step> {
    (select(&ALL[..]), 0..6_usize, 0..6_usize, 0..6_usize, any::<bool>())
        .prop_map(|(what, a, b, c, flag)| Step { what, a, b, c, flag })
}

/// Something of everything, so that what follows has something to break.
fn furnished() -> Vec<Step> {
    let of = |what, a, b, c| Step { what, a, b, c, flag: true };
    let mut steps = vec![
        of(What::AddUser, 0, 0, 0),
        of(What::AddUser, 0, 0, 0),
        of(What::AddDeployment, 0, 0, 0),
        of(What::AddDeployment, 1, 0, 0),
    ];
    for at in 0..2 {
        steps.extend([
            of(What::AddDomain, at, at, 0),
            of(What::AddRole, at, 1, at),
            of(What::SetDefault, at, 0, at),
            of(What::AddModel, at, at, at),
            Step { flag: false, ..of(What::AddModel, at, at + 1, at) },
            Step { flag: at == 0, ..of(What::AddRoute, 0, at, 1) },
            of(What::AddPat, at, at, at + 1),
        ]);
    }
    steps
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_change_log_says_what_a_snapshot_says_and_never_names_what_is_not_there(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(replay(&steps));
    }
}
