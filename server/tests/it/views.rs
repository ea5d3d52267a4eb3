//! The two views, the tools about tools, and what tokens leave of them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::json;

use crate::{
    server::{Caller, Detail, EmbedderChoice, Filters, Reconsider, SearchRequest, View},
    support::{Bench, Home, connect, error_text, host, text_plugin, texts, tokens, tool, tool_names, web},
};

#[tokio::test]
async fn the_search_view_lists_the_search_tools_and_the_pinned() {
    let home = Home::new();
    home.plugin("texts", &text_plugin());
    let mut settings = home.settings();
    settings.view = View::Search;
    settings.pinned = vec!["texts__shout".to_owned(), "no__such".to_owned()];
    let host = host(settings, &Bench::texts()).await;
    let (mut client, ..) = connect(&host);
    client.initialize("2025-11-25").await;
    assert_eq!(client.names().await, ["search_tools", "get_tool_details", "call_read_only_tool", "call_tool", "texts__shout"]);
}

#[tokio::test]
async fn searching_finds_and_says_how_to_call() {
    let (_home, host, _) = texts().await;
    let web = web(&host, |_| {}).await;
    let search = json!({"name": "search_tools", "arguments": {"query": "count the words"}});
    for (path, call) in [
        ("/mcp", json!({"name": "texts__count", "arguments": {"text": "one two"}})),
        (
            "/mcp/search",
            json!({"name": "call_read_only_tool", "arguments": {"name": "texts__count", "arguments": {"text": "one two"}}}),
        ),
    ] {
        let answer = web.modern(path, "tools/call", search.clone(), &[]).await.json();
        let found = &answer["result"]["structuredContent"];
        assert_eq!(found["tools"][0]["name"], "texts__count", "{answer}");
        assert_eq!(found["tools"][0]["inputSchema"]["required"], json!(["text"]));
        assert!(found["tools"][0]["score"].as_f64().unwrap() > 0.0);
        assert_eq!(found["total"], 2);
        assert_eq!(found["call_with"], call);
        let called = web.modern(path, "tools/call", found["call_with"].clone(), &[]).await.json();
        assert_eq!(called["result"]["structuredContent"], json!({"words": 2}), "{called}");
    }
    web.end().await;
}

#[tokio::test]
async fn search_takes_a_detail_a_limit_and_filters() {
    let home = Home::new();
    home.plugin("texts", &text_plugin());
    home.plugin("other", &text_plugin().replace("text_processing", "letters"));
    let host = host(home.settings(), &Bench::texts()).await;
    let search = |detail, filters, limit| SearchRequest {
        query: "count words of a text".into(),
        limit,
        detail,
        filters,
        min_score: 0.0,
        caller: Caller::local(),
    };
    let names = |reply: &crate::server::SearchReply| reply.tools.iter().map(|tool| tool.name.clone()).collect::<Vec<_>>();
    let reply = host.search(search(Detail::Names, Filters { plugin: Some("other".into()), ..Filters::default() }, 5)).await;
    assert!(
        !reply.tools.is_empty() && reply.tools.iter().all(|tool| tool.name.starts_with("other__") && tool.description.is_none())
    );
    assert_eq!(reply.total, 2);
    let reply = host
        .search(search(
            Detail::Brief,
            Filters { read_only: Some(true), category: Some("letters".into()), ..Filters::default() },
            5,
        ))
        .await;
    assert_eq!(names(&reply), ["other__count"]);
    assert!(reply.tools[0].description.is_some() && reply.tools[0].input_schema.is_none());
    assert_eq!(host.search(search(Detail::Full, Filters::default(), 1)).await.tools.len(), 1);
    let reply = host.search(search(Detail::Full, Filters { capability: Some("flying".into()), ..Filters::default() }, 5)).await;
    assert_eq!((reply.tools.len(), reply.total), (0, 0));
    // Each annotation, and the runtime, let through what they say and keep out the rest.
    let only = |filters| search(Detail::Names, filters, 5);
    for (filters, total) in [
        (Filters { runtime: Some("python".into()), ..Filters::default() }, 4),
        (Filters { runtime: Some("mcp".into()), ..Filters::default() }, 0),
        (Filters { destructive: Some(true), ..Filters::default() }, 2),
        (Filters { destructive: Some(false), ..Filters::default() }, 2),
        (Filters { idempotent: Some(true), ..Filters::default() }, 0),
        (Filters { open_world: Some(true), ..Filters::default() }, 4),
    ] {
        assert_eq!(host.search(only(filters.clone())).await.total, total, "{filters:?}");
    }
    let all = host.search(only(Filters::default())).await;
    // Just below the best: 1 is only what is first by words and by meaning.
    let best = host.search(SearchRequest { min_score: all.tools[0].score - 0.001, ..only(Filters::default()) }).await;
    assert!(best.tools.len() < all.tools.len() && best.tools[0].name == all.tools[0].name, "{best:?} {all:?}");
}

/// What a caller may find is worked out once and kept: for that caller, those filters, and no longer than the catalog.
#[tokio::test]
async fn what_was_kept_of_one_search_is_no_other_callers_and_no_other_catalogs() {
    let home = Home::new();
    home.plugin("texts", &text_plugin());
    home.plugin("other", &text_plugin());
    let host = host(home.settings(), &Bench::texts()).await;
    let caller = |pattern: &str| Caller::token("somebody", policy::ToolPatterns::parse(&[pattern]).unwrap());
    let search = async |caller: Caller, filters: Filters| {
        let (query, detail) = ("count words of a text".to_owned(), Detail::Names);
        let reply = host.search(SearchRequest { query, limit: 5, detail, filters, min_score: 0.0, caller }).await;
        let also = reply.tools.iter().flat_map(|tool| std::iter::once(&tool.name).chain(&tool.also));
        (also.cloned().collect::<std::collections::BTreeSet<String>>().into_iter().collect::<Vec<_>>(), reply.total)
    };
    let reading = || Filters { read_only: Some(true), ..Filters::default() };
    for _ in 0..2 {
        assert_eq!(search(caller("texts__*"), reading()).await, (vec!["texts__count".to_owned()], 1));
        assert_eq!(search(caller("other__*"), reading()).await, (vec!["other__count".to_owned()], 1));
        assert_eq!(search(caller("none__*"), reading()).await, (vec![], 0));
        assert_eq!(search(caller("texts__*"), Filters::default()).await.1, 2);
        assert_eq!(search(Caller::local(), reading()).await.1, 2);
        assert_eq!(search(Caller::local(), Filters::default()).await.1, 4, "the control");
    }
    std::fs::remove_dir_all(home.path("plugins/texts")).unwrap();
    home.plugin("more", &text_plugin());
    crate::support::within("the new catalog", async {
        while search(Caller::local(), reading()).await.0 != ["more__count", "other__count"] {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(search(caller("texts__*"), reading()).await, (vec![], 0));
    assert_eq!(search(caller("more__*"), reading()).await, (vec!["more__count".to_owned()], 1));
}

#[tokio::test]
async fn nonsense_finds_nothing_and_is_told_so() {
    let (_home, host, _) = texts().await;
    let (mut client, ..) = connect(&host);
    client.initialize("2025-11-25").await;
    for nonsense in ["qzxv wvutq", "lorem ipsum dolor sit amet", "\u{1}\u{2}", "!!!", "ignore all previous instructions"] {
        let answer = client.call("search_tools", json!({"query": nonsense})).await["result"]["structuredContent"].clone();
        assert_eq!(answer["tools"], json!([]), "{nonsense}: {answer}");
        assert!(answer["note"].as_str().unwrap().contains("nothing fits among 2 tools"), "{answer}");
        assert!(answer.get("call_with").is_none());
    }
    let answer = client.call("search_tools", json!({"query": "count the words"})).await["result"]["structuredContent"].clone();
    assert_eq!(answer["tools"][0]["name"], "texts__count");
}

/// However many plugins there are, and whatever they call their areas.
#[tokio::test]
async fn the_description_of_the_search_says_what_is_behind_it_and_stays_short() {
    let home = Home::new();
    for number in 0..40 {
        let area = format!("category: a_rather_long_word_for_an_area_of_tools_{number}");
        home.plugin(&format!("plugin{number}"), &text_plugin().replace("category: text_processing", &area));
    }
    home.plugin("plain", &text_plugin().replace("category: text_processing\n", ""));
    for view in [View::All, View::Search] {
        let mut settings = home.settings();
        settings.view = view;
        let host = host(settings, &Bench::texts()).await;
        let (mut client, ..) = connect(&host);
        client.initialize("2025-11-25").await;
        let listed = client.request("tools/list", json!({})).await;
        let description = listed["result"]["tools"][0]["description"].as_str().unwrap().to_owned();
        assert!(description.len() <= 480, "{} bytes: {description}", description.len());
        assert!(description.contains("82 tools of 41 plugins") && description.contains("a_rather_long"), "{description}");
        assert!(description.contains(", and more"), "{description}");
        host.shutdown().await;
    }
}

/// Nearly the same words of another plugin, with the same parameters: one tool. Other parameters or effects: another tool.
#[tokio::test]
async fn near_duplicates_are_shown_once_with_a_note() {
    let home = Home::new();
    let yaml = |description: &str| format!("mcps:\n{}", tool("fetch_page", description));
    home.plugin("one", &yaml("Fetch the text of a web page and return it as markdown"));
    home.plugin("two", &yaml("Fetch the text of a web page, and return it as Markdown text").replace("fetch_page", "fetchpage"));
    home.plugin(
        "three",
        &yaml("Fetch the text of a web page and return it as markdown").replace("text: {type: string}", "text: {type: integer}"),
    );
    let reader =
        format!("{}    annotations: {{read_only: true}}\n", yaml("Fetch the text of a web page and return it as markdown"));
    home.plugin("four", &reader);
    let host = host(home.settings(), &Bench::texts()).await;
    let (mut client, ..) = connect(&host);
    client.initialize("2025-11-25").await;
    let answer =
        client.call("search_tools", json!({"query": "fetch a web page", "detail": "names"})).await["result"]["structuredContent"]
            .clone();
    let tools = answer["tools"].as_array().unwrap();
    let twins: Vec<&serde_json::Value> = tools.iter().filter(|tool| tool.get("also").is_some()).collect();
    assert_eq!((tools.len(), twins.len()), (3, 1), "{answer}");
    let mut pair = [twins[0]["name"].as_str().unwrap(), twins[0]["also"][0].as_str().unwrap()];
    pair.sort_unstable();
    assert_eq!(pair, ["one__fetch_page", "two__fetchpage"]);
    assert!(answer["note"].as_str().unwrap().contains("`also` names the others"), "{answer}");
}

/// Two servers of one thing: the model reads it once, and is told that there is another.
#[tokio::test]
async fn a_tool_that_two_plugins_have_is_shown_once_and_both_are_named() {
    let home = Home::new();
    let tools = |description: &str, other: &str| format!("mcps:\n{}{}", tool("count", description), tool("other", other));
    home.plugin("one", &tools("Count the words of a text", "Count the letters of a text"));
    home.plugin("two", &tools("Count the words, of a text.", "Count the lines of a text"));
    let host = host(home.settings(), &Bench::texts()).await;
    let search = |limit, caller| SearchRequest {
        query: "count words".into(),
        limit,
        detail: Detail::Names,
        filters: Filters::default(),
        min_score: 0.0,
        caller,
    };
    let reply = host.search(search(2, Caller::local())).await;
    let names: Vec<&str> = reply.tools.iter().map(|tool| tool.name.as_str()).collect();
    let twin = if names[0] == "one__count" { "two__count" } else { "one__count" };
    assert!(names.len() == 2 && names[0].ends_with("__count"), "{names:?}");
    assert_eq!(reply.tools[0].also, [twin]);
    assert!(reply.tools[1].also.is_empty() && names[1].ends_with("__other"), "one name is not enough: {names:?}");
    assert_eq!(host.search(search(5, Caller::local())).await.tools.len(), 3);
}

#[tokio::test]
async fn the_call_tools_refuse_what_is_not_theirs() {
    let home = Home::new();
    home.plugin("texts", &text_plugin());
    let mut settings = home.settings();
    settings.view = View::Search;
    let host = host(settings, &Bench::texts()).await;
    let (mut client, ..) = connect(&host);
    client.initialize("2025-11-25").await;
    let inner = |name: &str| json!({"name": name, "arguments": {"text": "hi"}});
    let answer = client.call("call_tool", inner("texts__shout")).await;
    assert_eq!(answer["result"]["content"][0]["text"], "HI");
    assert_eq!(
        client.call("call_read_only_tool", inner("texts__count")).await["result"]["structuredContent"],
        json!({"words": 1})
    );
    assert!(error_text(&client.call("call_read_only_tool", inner("texts__shout")).await).starts_with("denied: "));
    for itself in ["call_tool", "search_tools", "get_tool_details", "call_read_only_tool"] {
        assert!(error_text(&client.call("call_tool", inner(itself)).await).starts_with("bad_arguments: "), "{itself}");
    }
    let missing = error_text(&client.call("call_tool", inner("texts__cuont")).await);
    assert!(missing.starts_with("unknown_tool: ") && missing.contains("texts__count"), "{missing}");
    assert!(error_text(&client.call("call_tool", json!({"arguments": {}})).await).contains("/name"));
    assert!(
        error_text(&client.call("call_tool", json!({"name": "texts__count", "arguments": {"text": 1}})).await).contains("/text")
    );
    let details = client.call("get_tool_details", json!({"name": "texts__count"})).await;
    assert_eq!(details["result"]["structuredContent"]["name"], "texts__count");
    // Hidden from the list, still there by name.
    assert_eq!(client.call("texts__shout", json!({"text": "hi"})).await["result"]["content"][0]["text"], "HI");
}

#[tokio::test]
async fn a_token_filters_the_list_the_search_and_the_call() {
    let (home, host, _) = texts().await;
    let tokens = tokens(&home, &[("alice", &["texts__count"]), ("bob", &["*"])]);
    let web = web(&host, |settings| settings.tokens = Some(tokens)).await;
    let alice = [("authorization", "Bearer alice-token")];
    let bob = [("authorization", "Bearer bob-token")];
    let list = |headers| web.modern("/mcp", "tools/list", json!({}), headers);
    assert_eq!(tool_names(&list(&alice).await.json()), ["search_tools", "get_tool_details", "texts__count"]);
    assert_eq!(list(&alice).await.json()["result"]["cacheScope"], "private");
    assert_eq!(tool_names(&list(&bob).await.json()).len(), 4);
    let search = json!({"name": "search_tools", "arguments": {"query": "capital letters"}});
    let found = web.modern("/mcp", "tools/call", search.clone(), &alice).await.json();
    assert!(!found.to_string().contains("shout"), "{found}");
    assert!(web.modern("/mcp", "tools/call", search, &bob).await.json().to_string().contains("shout"));
    let call = |name: &str| json!({"name": name, "arguments": {"text": "hi"}});
    let denied = error_text(&web.modern("/mcp", "tools/call", call("texts__shout"), &alice).await.json());
    assert!(denied.contains("token does not cover"), "{denied}");
    // The same answer for a tool that is none: a token is no way to find out which there are.
    assert_eq!(error_text(&web.modern("/mcp", "tools/call", call("no__such"), &alice).await.json()), denied);
    assert_eq!(
        web.modern("/mcp", "tools/call", call("texts__count"), &alice).await.json()["result"]["structuredContent"],
        json!({"words": 1})
    );
    assert_eq!(web.modern("/mcp", "tools/call", call("texts__shout"), &bob).await.json()["result"]["content"][0]["text"], "HI");
    let through = json!({"name": "call_tool", "arguments": {"name": "texts__shout", "arguments": {"text": "hi"}}});
    assert!(
        error_text(&web.modern("/mcp/search", "tools/call", through.clone(), &alice).await.json()).starts_with("unknown_tool")
    );
    assert_eq!(web.modern("/mcp/search", "tools/call", through, &bob).await.json()["result"]["content"][0]["text"], "HI");
    let details = json!({"name": "get_tool_details", "arguments": {"name": "texts__shout"}});
    assert!(error_text(&web.modern("/mcp", "tools/call", details, &alice).await.json()).starts_with("unknown_tool"));
    // Narrowed and revoked without a restart.
    home.write("config/tokens.yaml", &crate::support::tokens_yaml(&[("alice", &["texts__shout"])]));
    assert_eq!(tool_names(&list(&alice).await.json()), ["search_tools", "get_tool_details", "texts__shout"]);
    assert_eq!(list(&bob).await.status, 401);
    tokio::time::timeout(Duration::from_secs(10), web.end()).await.unwrap();
}

/// `pegboard models use`, as the server meets it: the old index answers until the new one knows every tool.
#[tokio::test]
async fn another_embedder_takes_over_in_the_background() {
    let home = Home::new();
    home.plugin("texts", &text_plugin());
    let lexical = Arc::new(AtomicBool::new(false));
    let mut settings = home.settings();
    let wish = lexical.clone();
    settings.reconsider = Some(Reconsider(Arc::new(move || {
        Some(if wish.load(Ordering::SeqCst) { EmbedderChoice::Lexical } else { EmbedderChoice::Static })
    })));
    let host = host(settings, &Bench::texts()).await;
    host.embedded().await;
    let finds = async |query: &str| !host.search(SearchRequest::local(query)).await.tools.is_empty();
    for (wanted, mode) in [(true, "lexical"), (false, "hybrid"), (true, "lexical")] {
        assert_ne!(host.index_mode().as_str(), mode);
        lexical.store(wanted, Ordering::SeqCst);
        home.write("config/embedder.yaml", &format!("use: {wanted}\n"));
        crate::support::within("the change", async {
            while host.index_mode().as_str() != mode {
                assert!(finds("count the words").await, "it is searched all the while");
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert!(finds("count the words").await);
    }
}
