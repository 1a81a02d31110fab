//! Invitations.

use crate::support::{Server, json, text};

#[test]
fn an_invitation_is_accepted_and_makes_a_member() {
    let server = Server::start();
    let (_, ada) = server.add_user("ada");
    let (bob, bob_token) = server.add_user("bob");
    let domain = server.add_domain(&ada, "d");
    let role = server.add_role(&domain, "readers", &["read"], &[]);
    let path = format!("/domains/{domain}/invitations");
    let invite = json!({ "invitee_user_id": bob, "role_id": role });
    let invitation = server.call("POST", &path, &ada, Some(&invite)).expect(201);
    assert_eq!(
        (text(&invitation, "role_name"), text(&invitation, "domain_name")),
        ("readers".into(), "d".into())
    );
    server.call("POST", &path, &ada, Some(&invite)).expect_error(409);
    server.call("GET", &format!("/domains/{domain}"), &bob_token, None).expect_error(404);
    let own = server.call("GET", "/invitations?state=pending", &bob_token, None).expect(200);
    assert_eq!((&own["total"], text(&own["invitations"][0], "domain_id")), (&json!(1), domain.clone()));

    let into = json!({ "domain_id": domain });
    server.call("POST", "/invitations/accept", &bob_token, Some(&into)).expect(204);
    server.call("GET", &format!("/domains/{domain}"), &bob_token, None).expect(200);
    server.call("POST", "/invitations/accept", &bob_token, Some(&into)).expect_error(409);
    server.call("POST", "/invitations/reject", &bob_token, Some(&into)).expect_error(409);
    server.call("POST", &path, &ada, Some(&invite)).expect_error(409);
    let all = server.call("GET", &format!("{path}?state=accepted"), &ada, None).expect(200);
    assert_eq!((&all["total"], all["invitations"][0]["confirmed_at"].is_string()), (&json!(1), true));
}

#[test]
fn a_rejected_invitation_can_be_sent_again_and_taken_back() {
    let server = Server::start();
    let (_, ada) = server.add_user("ada");
    let (bob, bob_token) = server.add_user("bob");
    let domain = server.add_domain(&ada, "d");
    let role = server.add_role(&domain, "readers", &["read"], &[]);
    let path = format!("/domains/{domain}/invitations");
    let (into, of) = (json!({ "domain_id": domain }), json!({ "user_id": bob }));
    let invite = |resend: bool| json!({ "invitee_user_id": bob, "role_id": role, "resend": resend });
    server.call("POST", &path, &ada, Some(&invite(false))).expect(201);
    server.call("POST", "/invitations/reject", &bob_token, Some(&into)).expect(204);
    server.call("POST", "/invitations/accept", &bob_token, Some(&into)).expect_error(409);
    server.call("POST", &path, &ada, Some(&invite(false))).expect_error(409);
    server.call("POST", &path, &ada, Some(&invite(true))).expect(201);
    server.call("DELETE", &path, &ada, Some(&of)).expect(204);
    server.call("DELETE", &path, &ada, Some(&of)).expect_error(404);
    server.call("POST", "/invitations/accept", &bob_token, Some(&into)).expect_error(404);
    server.call("POST", &path, &ada, Some(&invite(false))).expect(201);
    server.call("DELETE", &path, &bob_token, Some(&of)).expect(204);
    server.call("POST", &path, &ada, Some(&invite(false))).expect(201);
    server.call("POST", &format!("/domains/{domain}/disable"), &ada, None).expect(200);
    server.call("POST", "/invitations/accept", &bob_token, Some(&into)).expect_error(403);
}

#[test]
fn only_those_concerned_see_an_invitation() {
    let server = Server::start();
    let (_, ada) = server.add_user("ada");
    let (bob, _) = server.add_user("bob");
    let (eve, eve_token) = server.add_user("eve");
    let domain = server.add_domain(&ada, "d");
    let elsewhere = server.add_domain(&eve_token, "e");
    let (role, foreign) =
        (server.add_role(&domain, "r", &["read"], &[]), server.add_role(&elsewhere, "r", &[], &[]));
    let path = format!("/domains/{domain}/invitations");
    let invite = |invitee: &str, role: &str| json!({ "invitee_user_id": invitee, "role_id": role });
    server.call("POST", &path, &ada, Some(&invite(&bob, &role))).expect(201);
    for (method, body) in
        [("POST", Some(invite(&eve, &role))), ("GET", None), ("DELETE", Some(json!({ "user_id": bob })))]
    {
        server.call(method, &path, &eve_token, body.as_ref()).expect_error(404);
        server.call(method, &path, "", body.as_ref()).expect_error(401);
    }
    assert_eq!(server.call("GET", "/invitations", &eve_token, None).expect(200)["total"], 0);
    server
        .call("POST", "/invitations/accept", &eve_token, Some(&json!({ "domain_id": domain })))
        .expect_error(404);
    // A reader of the domain may not invite into it.
    server.add_role(&domain, "readers", &["read"], &[&eve]);
    server.call("POST", &path, &eve_token, Some(&invite(&eve, &role))).expect_error(403);
    server.call("GET", &path, &eve_token, None).expect_error(403);
    server.call("POST", &path, &ada, Some(&invite(&bob, &foreign))).expect_error(404);
    server
        .call("POST", &path, &ada, Some(&invite("3aa2aa87-f29b-455d-aa68-1e874804f786", &role)))
        .expect_error(404);
    server.call("POST", &path, &ada, Some(&json!({}))).expect_error(400);
    server.call("GET", &format!("{path}?state=x"), &ada, None).expect_error(400);
}
