//! A browser, and the demo that it looks at.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

/// How long a page may take to become as it is expected.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The demo's line.
pub(crate) struct Demo(Value);

impl Demo {
    pub(crate) fn get() -> Self {
        let line = std::env::var("CUBE_DEMO").expect("tests/ui/run.sh says where the demo is");
        Self(serde_json::from_str(&line).expect("the line that cube-demo --json prints"))
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_else(|| panic!("the demo says no {name}"))
    }

    /// A request to the origin; status and body.
    pub(crate) fn call(
        &self,
        method: &str,
        path: &str,
        credential: &str,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.text("origin")))
            .header("authorization", format!("Bearer {credential}"))
            .header("content-type", "application/json")
            .body(body.map(Value::to_string).unwrap_or_default())
            .expect("a request");
        let mut response = agent.run(request).expect("the proxy answers");
        let text = response.body_mut().read_to_string().expect("text");
        (response.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// A counter of the model server's.
    pub(crate) fn upstream_count(&self, name: &str) -> u64 {
        let mut response =
            ureq::get(format!("{}/mock/stats", self.text("upstream"))).call().expect("the model server");
        let stats = response.body_mut().read_to_string().expect("text");
        let stats: Value = serde_json::from_str(&stats).expect("counters");
        stats[name].as_u64().unwrap_or_else(|| panic!("no {name} in {stats}"))
    }

    pub(crate) fn log_in(&self, username: &str, password: &str) -> String {
        let login = json!({ "username": username, "password": password });
        let (_, tokens) = self.call("POST", "/users/tokens/issue", "", Some(&login));
        tokens["access_token"].as_str().expect("a token").to_owned()
    }

    /// A new user with a role in the demo's domain; the password is `password of NAME`.
    pub(crate) fn add_user(&self, name: &str, actions: &[&str]) {
        let admin = self.log_in(self.text("user"), self.text("password"));
        let user = json!({ "credentials": { "username": name, "secret": format!("password of {name}") } });
        let (status, user) = self.call("POST", "/users", &admin, Some(&user));
        assert_eq!(status, 201, "{user}");
        let domain = self.domain(&admin);
        let role =
            json!({ "role_name": name, "optional_actions": actions, "optional_members": [user["id"]] });
        let (status, role) = self.call("POST", &format!("/domains/{domain}/roles"), &admin, Some(&role));
        assert_eq!(status, 201, "{role}");
    }

    /// The identifier of the demo's domain.
    pub(crate) fn domain(&self, admin: &str) -> String {
        let path = format!("/domains?name={}", self.text("domain"));
        let (_, domains) = self.call("GET", &path, admin, None);
        let mut domains = domains["domains"].as_array().expect("domains").iter();
        let found = domains.find(|domain| domain["route"] == self.text("domain"));
        found.and_then(|domain| domain["id"].as_str()).expect("the demo's domain").to_owned()
    }
}

/// A browser window of its own. The driver ends with it.
pub(crate) struct Browser {
    pub(crate) client: Client,
    driver: Child,
    pub(crate) origin: String,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

impl Browser {
    pub(crate) async fn open(demo: &Demo) -> Self {
        Self::open_at(demo, 1280).await
    }

    /// A window in which pages are this wide, in pixels: also less than Chromium's windows can be.
    pub(crate) async fn open_at(demo: &Demo, width: i64) -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let output = BufReader::new(driver.stdout.take().expect("piped"));
        let port = output.lines().map_while(Result::ok).find_map(|line| {
            let rest = line.strip_prefix("ChromeDriver was started successfully on port ")?;
            rest.trim_end_matches('.').parse::<u16>().ok()
        });
        let port = port.expect("chromedriver says its port");
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--window-size=1280,1000",
        ];
        let metrics =
            json!({ "width": width, "height": 1000, "pixelRatio": 1, "mobile": false, "touch": false });
        let emulation = json!({ "deviceMetrics": metrics });
        let wanted = json!({ "goog:chromeOptions": { "args": arguments, "mobileEmulation": emulation } });
        let wanted = wanted.as_object().expect("an object").clone();
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(wanted)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect("a session with Chromium");
        Self { client, driver, origin: demo.text("origin").to_owned() }
    }

    pub(crate) async fn go(&self, path: &str) {
        self.client.goto(&format!("{}{path}", self.origin)).await.expect("the page opens");
    }

    pub(crate) async fn sign_in(&self, username: &str, password: &str) {
        self.go("/ui/sign-in").await;
        self.write("#f-username", username).await;
        self.write("#f-password", password).await;
        self.press("form.sign-in button[type=submit]").await;
        self.until_at("/ui/").await;
    }

    /// Writes into a field in the place of what is there.
    pub(crate) async fn write(&self, field: &str, text: &str) {
        let field =
            self.client.find(Locator::Css(field)).await.unwrap_or_else(|error| panic!("{field}: {error}"));
        field.clear().await.expect("a field");
        field.send_keys(text).await.expect("a field");
    }

    /// Clicks as a user does: what is covered or not there cannot be clicked.
    pub(crate) async fn press(&self, what: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let clicked = match self.client.find(Locator::Css(what)).await {
                Ok(element) => element.click().await,
                Err(error) => Err(error),
            };
            match clicked {
                Ok(()) => return,
                Err(error) if Instant::now() > deadline => panic!("{what}: {error}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    pub(crate) async fn text(&self, what: &str) -> String {
        let element =
            self.client.find(Locator::Css(what)).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        element.text().await.expect("its text")
    }

    pub(crate) async fn has(&self, what: &str) -> bool {
        !self.client.find_all(Locator::Css(what)).await.expect("a selector").is_empty()
    }

    pub(crate) async fn script(&self, source: &str) -> Value {
        self.client.execute(source, Vec::new()).await.unwrap_or_else(|error| panic!("{source}: {error}"))
    }

    /// Waits until an expression of the page is true.
    pub(crate) async fn until(&self, expression: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.client.execute(&format!("return !!({expression})"), Vec::new()).await.ok()
            != Some(Value::Bool(true))
        {
            if Instant::now() > deadline {
                let page = self.client.source().await.unwrap_or_default();
                panic!("never: {expression}\n{page}");
            }
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    }

    pub(crate) async fn until_at(&self, path: &str) {
        self.until(&format!("location.pathname === '{path}' && document.readyState === 'complete'")).await;
    }

    /// The browser refused nothing of what our pages wanted to do.
    pub(crate) async fn expect_no_reports(&self) {
        self.go("/ui/reports").await;
        assert!(!self.has("#csp-reports").await, "{}", self.text("main").await);
    }

    pub(crate) async fn close(self) {
        self.client.clone().close().await.expect("the window closes");
    }
}
