%% SPDX-License-Identifier: Apache-2.0
%% The reference is whole and true: what it says of settings and functions, and that what it
%% suggests to those who come from other libraries does what they had.
-module(gen_rpc_docs_SUITE).

-behaviour(ct_suite).

-include_lib("stdlib/include/assert.hrl").

-export([suite/0, all/0, init_per_suite/1, end_per_suite/1]).
-export([every_setting_is_described/1, defaults_are_true/1, what_reconfigure_changes_is_true/1,
         edge_node_is_accepted/1, limits_are_true/1]).
-export([every_function_is_described/1, internal_modules_are_not_there/1, dead_links_are_found/1,
         warnings_are_found/1, unmarked_modules_are_found/1]).
-export([every_function_of_rpc_has_a_place/1, every_function_of_erpc_has_a_place/1]).
-export([what_to_write_instead_of_rpc/1, what_rpc_has_not/1, what_erpc_has_not/1,
         what_old_gen_rpc_did_otherwise/1, what_exrpc_did_otherwise/1]).

-import(gen_rpc_test_node, [call/4]).

-define(PUBLIC, [gen_rpc, gen_rpc_config, gen_rpc_counters, gen_rpc_erpc, gen_rpc_external_source]).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [every_setting_is_described, defaults_are_true, what_reconfigure_changes_is_true, edge_node_is_accepted, limits_are_true,
     every_function_is_described, internal_modules_are_not_there, dead_links_are_found,
     warnings_are_found, unmarked_modules_are_found,
     every_function_of_rpc_has_a_place, every_function_of_erpc_has_a_place,
     what_to_write_instead_of_rpc, what_rpc_has_not, what_erpc_has_not,
     what_old_gen_rpc_did_otherwise, what_exrpc_did_otherwise].

init_per_suite(Config) ->
    Html = filename:join(proplists:get_value(priv_dir, Config), "html"),
    {0, _} = build(root(), Html),
    {Client, Server} = gen_rpc_test_node:start_pair(),
    [{html, Html}, {client, gen_rpc_test_node:keep(Client)},
     {server, gen_rpc_test_node:keep(Server)} | Config].

end_per_suite(Config) ->
    ok = gen_rpc_test_node:stop(client(Config)),
    gen_rpc_test_node:stop(server(Config)).

%%% Settings

%% docs/SETTINGS.md has a row for each setting, and no other.
every_setting_is_described(_Config) ->
    {error, {unknown_setting, nothing, Known}} = gen_rpc_config:load([{nothing, 1}]),
    ?assertEqual(lists:sort(Known), lists:sort([Key || {Key, _, _} <- described()])).

%% The defaults in it are those in force.
defaults_are_true(_Config) ->
    [?assertEqual({Key, gen_rpc_config:get(Key)}, {Key, Default})
     || {Key, Default, _} <- described()].

%% What it calls a matter of a restart is one, and all else is not.
what_reconfigure_changes_is_true(_Config) ->
    [?assert(lists:member(Changes, ["call", "connection", "restart"]))
     || {_, _, Changes} <- described()],
    ?assertEqual(lists:sort(gen_rpc_config:fixed()),
                 lists:sort([Key || {Key, _, "restart"} <- described()])).

%% The settings of the edge node in SECURITY.md are such that it starts, with certificates.
edge_node_is_accepted(_Config) ->
    {match, [Text]} = re:run(read("SECURITY.md"), "```erlang\n(.*?)\.\n```",
                             [dotall, {capture, all_but_first, list}]),
    [{gen_rpc, Settings}] = term(Text),
    ?assertEqual(ok, gen_rpc_config:load(Settings)),
    ok = gen_rpc_config:unload().

%% The defaults in its tables of limits are those in force.
limits_are_true(_Config) ->
    {match, Rows} = re:run(read("SECURITY.md"), "^\\| [^|]+ \\| `(\\w+)` \\| ([0-9]+) \\|",
                           [global, multiline, {capture, all_but_first, list}]),
    ?assert(length(Rows) >= 3, Rows),
    [?assertEqual({Key, list_to_integer(Default)}, {Key, gen_rpc_config:get(list_to_atom(Key))})
     || [Key, Default] <- Rows].

%% The rows: key, default, what reconfigure/0 changes.
described() ->
    {match, Rows} = re:run(read("docs/SETTINGS.md"),
                           "^\\| `(\\w+)` \\| ([^|]+) \\| [^|]+ \\| .* \\| (\\w+) \\|$",
                           [global, multiline, {capture, all_but_first, list}]),
    [{list_to_atom(Key), term(Default), Changes} || [Key, Default, Changes] <- Rows].

term(Text) ->
    {ok, Tokens, _} = erl_scan:string(string:trim(Text, both, "`") ++ "."),
    {ok, Term} = erl_parse:parse_term(Tokens),
    Term.

%%% The reference

%% The page of each public module has all of its functions and types.
every_function_is_described(Config) ->
    [begin
         Page = page(Config, atom_to_list(Module) ++ ".html"),
         [?assertEqual({Module, F, A, true}, {Module, F, A, has(Page, anchor(F, A))})
          || {F, A} <- Module:module_info(exports), F =/= module_info, F =/= behaviour_info,
             not is_private(Module, {F, A})],
         [?assertEqual({Module, T, true}, {Module, T, has(Page, "name=\"type-" ++ T ++ "\"")})
          || T <- types(Module)]
     end || Module <- modules(), is_public(Module)].

anchor(F, A) ->
    lists:flatten(io_lib:format("name=\"~s-~b\"", [F, A])).

%% A function of a public module that is for the other modules says so in its comment.
is_private(Module, {F, _}) ->
    Source = read("src/" ++ atom_to_list(Module) ++ ".erl"),
    re:run(Source, "^%% @private\n-spec " ++ atom_to_list(F) ++ "\\(", [multiline]) =/= nomatch.

types(Module) ->
    {ok, {_, [{abstract_code, {raw_abstract_v1, Forms}}]}} =
        beam_lib:chunks(code:which(Module), [abstract_code]),
    lists:usort([atom_to_list(T) || {attribute, _, export_type, Types} <- Forms, {T, _} <- Types]).

%% No other module has a page.
internal_modules_are_not_there(Config) ->
    Pages = filelib:wildcard("gen_rpc*.html", proplists:get_value(html, Config)),
    Public = [Module || Module <- modules(), is_public(Module)],
    ?assertEqual([], ?PUBLIC -- Public),
    ?assertEqual(lists:sort([atom_to_list(Module) ++ ".html" || Module <- Public]),
                 lists:sort(Pages)).

modules() ->
    [list_to_atom(filename:basename(File, ".erl"))
     || File <- filelib:wildcard("src/*.erl", root())].

is_public(Module) ->
    re:run(read("src/" ++ atom_to_list(Module) ++ ".erl"), "^%% @hidden", [multiline]) =:= nomatch.

%% A link to a heading or a page that is not there fails the build, and is named.
dead_links_are_found(Config) ->
    Text = "\n[a](#no-such-heading) [b](NOTHING.md) [c](SETTINGS.md#load) "
        "[d](../README.md#nowhere)\n",
    Said = build_with(Config, "docs/COMPRESSION.md", fun(Old) -> [Old, Text] end),
    [?assert(has(Said, Link)) || Link <- ["COMPRESSION.html: nothing is at #no-such-heading",
                                          "nothing is at NOTHING.html",
                                          "nothing is at README.html#nowhere"]],
    ?assertNot(has(Said, "SETTINGS.html#load")).

%% So does what edoc can't make sense of.
warnings_are_found(Config) ->
    [begin
         Said = build_with(Config, "src/gen_rpc.erl",
                           fun(Old) -> re:replace(Old, "%% @doc Calls", Wrong) end),
         ?assert(has(Said, Named))
     end || {Wrong, Named} <- [{"%% @no_such_tag\n%% @doc Calls", "warning: tag @no_such_tag"},
                               {"%% @doc <nothing> Calls", "error in XML parser"}]].

%% And a module that says neither that it is part of the reference nor that it is not.
unmarked_modules_are_found(Config) ->
    Said = build_with(Config, "src/gen_rpc_new.erl", fun(_) -> "\n-module(gen_rpc_new).\n" end),
    ?assert(has(Said, "gen_rpc_new.erl: neither @doc nor @hidden")).

%% What a build of a copy says, in which one file has been changed.
build_with(Config, File, Change) ->
    Copy = filename:join(proplists:get_value(priv_dir, Config), "copy"),
    _ = file:del_dir_r(Copy),
    [begin
         To = filename:join(Copy, Path),
         ok = filelib:ensure_dir(To),
         {ok, _} = file:copy(filename:join(root(), Path), To)
     end || Pattern <- ["README.md", "CHANGELOG.md", "SECURITY.md", "examples/elixir/README.md", "docs/*",
                        "src/*"],
            Path <- filelib:wildcard(Pattern, root())],
    Changed = filename:join(Copy, File),
    Old = case file:read_file(Changed) of {ok, Bytes} -> Bytes; {error, enoent} -> <<>> end,
    ok = file:write_file(Changed, Change(Old)),
    {Status, Said} = build(Copy, filename:join(Copy, "html")),
    ?assertNotEqual(0, Status),
    Said.

build(Root, Html) ->
    {Status, Said} = gen_rpc_test_command:run(os:find_executable("escript"),
                                              [filename:join([Root, "docs", "build.escript"]), Html],
                                              infinity),
    {Status, list_to_binary(Said)}.

%%% Migration

%% Every exported function of rpc is in the page for its users; but what makes it a gen_server is
%% not for them.
every_function_of_rpc_has_a_place(_Config) ->
    Server = [start, start_link, stop, init, handle_call, handle_cast, handle_info, terminate,
              code_change, proxy_user_flush, module_info],
    have_a_place(rpc, Server, "docs/MIGRATION-rpc.md").

every_function_of_erpc_has_a_place(_Config) ->
    have_a_place(erpc, [module_info], "docs/MIGRATION-erpc.md").

have_a_place(Module, Except, File) ->
    Text = read(File),
    Names = lists:usort([F || {F, _} <- Module:module_info(exports)]) -- Except,
    ?assertEqual([], [Name || Name <- Names,
                              re:run(Text, "`" ++ atom_to_list(Name) ++ "/[0-9]") =:= nomatch]).

%% The counterparts of functions that gen_rpc does not have.
what_to_write_instead_of_rpc(Config) ->
    #{node := Node} = server(Config),
    {ok, _} = call(server(Config), gen_event, start, [{local, a_server}]),
    ok = on_client(Config, fun() ->
        Nodes = [node(), Node],
        %% server_call, multi_server_call
        [] = gen_rpc:call(Node, gen_server, call, [a_server, which_handlers]),
        {[[]], ['nobody@127.0.0.1']} =
            gen_rpc:multicall([Node, 'nobody@127.0.0.1'], gen_server, call,
                              [a_server, which_handlers]),
        %% parallel_eval
        Work = [{N, {lists, sum, [[1, I]]}} || {N, I} <- lists:zip(Nodes, [1, 2])],
        Evaluated = [gen_rpc:async_call(N, M, F, A) || {N, {M, F, A}} <- Work],
        [2, 3] = [gen_rpc:yield(Key) || Key <- Evaluated],
        %% pmap
        {{M, F}, Extra, List} = {{erlang, max}, [2], [1, 2, 3, a, 0]},
        Placed = lists:zip(List, [lists:nth(1 + I rem length(Nodes), Nodes)
                                  || I <- lists:seq(1, length(List))]),
        Mapped = [gen_rpc:async_call(N, M, F, [Element | Extra]) || {Element, N} <- Placed],
        [2, 2, 3, a, 2] = [gen_rpc:yield(Key) || Key <- Mapped],
        %% pinfo
        Pid = gen_rpc:call(Node, erlang, whereis, [a_server]),
        Node = node(Pid),
        {registered_name, a_server} =
            gen_rpc:call(node(Pid), erlang, process_info, [Pid, registered_name]),
        true = is_list(gen_rpc:call(node(Pid), erlang, process_info, [Pid])),
        ok
    end).

what_rpc_has_not(Config) ->
    #{node := Node} = server(Config),
    ok = on_client(Config, fun() ->
        Key = gen_rpc:async_call(Node, erlang, node, []),
        Self = self(),
        spawn(fun() -> Self ! {yielded, gen_rpc:yield(Key)} end),
        receive {yielded, Node} -> ok end,
        {badrpc, timeout} = gen_rpc:yield(Key),
        {'EXIT', {badarg, _}} = (catch gen_rpc:call(Node, erlang, node, [], -1)),
        {'EXIT', {badarg, _}} = (catch rpc:call(Node, erlang, node, [], -1)),
        [Node] = gen_rpc:nodes(),
        false = gen_rpc:call(Node, erlang, group_leader, []) =:= group_leader(),
        abcast = gen_rpc:eval_everywhere([Node], erlang, node),
        ok
    end).

what_erpc_has_not(Config) ->
    #{node := Node} = server(Config),
    ok = on_client(Config, fun() ->
        Node = gen_rpc_erpc:call({Node, a_key}, erlang, node, []),
        Until = {abs, erlang:monotonic_time(millisecond) + 5000},
        Node = gen_rpc_erpc:call(Node, erlang, node, [], Until),
        {'EXIT', {{erpc, noconnection}, _}} =
            (catch gen_rpc_erpc:call('nobody@127.0.0.1', erlang, node, [])),
        {'EXIT', {signal, killed}} =
            (catch gen_rpc_erpc:call(Node, gen_rpc_test_target, end_self, [kill])),
        ok
    end),
    %% Here it does not run.
    [?assertError({not_started, gen_rpc}, Call())
     || Call <- [fun() -> gen_rpc_erpc:call(Node, erlang, node, []) end,
                 fun() -> gen_rpc:call(Node, erlang, node, []) end]].

what_old_gen_rpc_did_otherwise(Config) ->
    #{node := Node} = server(Config),
    ok = on_client(Config, fun() ->
        true = gen_rpc:ordered_cast(Node, erlang, node, []),
        {badrpc, {'EXIT', x}} = gen_rpc:call(Node, erlang, throw, [{'EXIT', x}]),
        {badrpc, {'EXIT', killed}} =
            gen_rpc:call(Node, gen_rpc_test_target, end_self, [kill]),
        {badrpc, nodedown} = gen_rpc:call('a@no-such-host.invalid', erlang, node, []),
        {badrpc, incompatible} = gen_rpc:call(node(), {lists, no_version}, sum, [[1]]),
        {[{badrpc, {'EXIT', {badarith, _}}}, {badrpc, {'EXIT', {badarith, _}}}],
         ['x@127.0.0.1', 'nobody@127.0.0.1']} =
            gen_rpc:multicall(['x@127.0.0.1', node(), 'nobody@127.0.0.1', Node], erlang, 'div',
                              [1, 0]),
        {'EXIT', {badarg, _}} = (catch gen_rpc:call("node", erlang, node, [])),
        [Node] = gen_rpc:nodes(),
        ok
    end),
    [begin
         {error, {unknown_setting, Key, _}} = gen_rpc_config:load([{Key, 1}])
     end || Key <- [driver, acceptor_socket_active_n, max_batch_size, control_receive_timeout,
                    insecure_auth_fallback_allowed, challenge_size, logger]],
    {error, {invalid_setting, compression_threshold, 0, _}} =
        gen_rpc_config:load([{compression_threshold, 0}]),
    {error, {unknown_setting, {ssl_client_options, verify_fun}, _}} =
        gen_rpc_config:load([{ssl_client_options, [{verify_fun, 1}]}]),
    %% The whitelist of a name, or of erlang, lets messages through; a blacklist of either does not.
    [?assertEqual({Control, List, Delivered},
                  {Control, List, gen_rpc_policy:may_deliver(gen_rpc_policy:new(Control, List),
                                                             a_name)})
     || {Control, List, Delivered} <- [{whitelist, [a_name], true}, {whitelist, [erlang], true},
                                       {whitelist, [lists], false}, {blacklist, [a_name], false},
                                       {blacklist, [erlang], false}, {blacklist, [lists], true}]],
    ok.

what_exrpc_did_otherwise(Config) ->
    #{node := Node} = server(Config),
    ok = on_client(Config, fun() ->
        {'EXIT', {badarg, _}} = (catch gen_rpc:call(Node, erlang, node, [], nil)),
        Node = gen_rpc:call(Node, erlang, node, [], undefined),
        true = gen_rpc:safe_cast(Node, erlang, no_such_function),
        {badrpc, nodedown} = gen_rpc:safe_cast('nobody@127.0.0.1', erlang, node),
        ok
    end),
    %% A connection that takes no more, with the policy `block'.
    OsPid = gen_rpc_test_node:freeze(server(Config)),
    try
        Cast = fun() -> gen_rpc:safe_cast(Node, erlang, byte_size, [<<0:8000000>>], 200) end,
        ?assertEqual({badtcp, send_timeout},
                     on_client(Config, fun() -> until_refused(Cast, 1000) end))
    after
        ok = gen_rpc_test_node:thaw(OsPid)
    end.

until_refused(Cast, Left) when Left > 0 ->
    case Cast() of
        true -> until_refused(Cast, Left - 1);
        Refused -> Refused
    end.

%%% Helpers

client(Config) -> proplists:get_value(client, Config).

server(Config) -> proplists:get_value(server, Config).

on_client(Config, Fun) -> gen_rpc_test_node:run(client(Config), Fun).

%% Of a path in the repository.
read(Path) ->
    {ok, Bytes} = file:read_file(filename:join(root(), Path)),
    Bytes.

page(Config, Name) ->
    {ok, Bytes} = file:read_file(filename:join(proplists:get_value(html, Config), Name)),
    Bytes.

has(Text, Part) ->
    string:find(Text, Part) =/= nomatch.

root() ->
    filename:dirname(filename:dirname(proplists:get_value(source, ?MODULE:module_info(compile)))).
