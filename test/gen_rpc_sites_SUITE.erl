%% SPDX-License-Identifier: Apache-2.0
%% The two sites of examples/two-sites, started from the very files that are there and in the
%% README: plain TCP inside a site, TLS between the edges, and no other way across.
-module(gen_rpc_sites_SUITE).

-behaviour(ct_suite).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1]).
-export([inside_a_site/1, across/1, only_the_way_across_is_encrypted/1, no_other_way_across/1,
         plain_client_gets_nothing/1, client_without_certificate_gets_nothing/1,
         both_sites_are_alike/1, readme_has_the_files/1]).

-import(gen_rpc_test_node, [call/4, wait/2]).
-import(gen_rpc_test_pair, [lines/3]).

-define(PARIS_INNER, 'inner@127.0.1.1').
-define(PARIS_EDGE, 'edge@127.0.1.2').
-define(OSLO_INNER, 'inner@127.0.2.1').
-define(OSLO_EDGE, 'edge@127.0.2.2').

-define(FILES, #{?PARIS_INNER => "paris-inner.config", ?PARIS_EDGE => "paris-edge.config",
                 ?OSLO_INNER => "oslo-inner.config", ?OSLO_EDGE => "oslo-edge.config"}).

%% As the files say.
-define(PLAIN_PORTS, [5369, 5371, 5469, 5471]).
-define(TLS_PORTS, [{?PARIS_EDGE, 5370}, {?OSLO_EDGE, 5470}]).

-define(COOKIE, "two_sites").

%% What a message of the handshake begins with.
-define(MAGIC, [16#8e, $G, $R]).

suite() ->
    [{timetrap, {seconds, 60}}].

%% The first ones make the connections that later ones look at.
all() ->
    [inside_a_site, across, only_the_way_across_is_encrypted, no_other_way_across,
     plain_client_gets_nothing, client_without_certificate_gets_nothing,
     both_sites_are_alike, readme_has_the_files].

init_per_suite(Config) ->
    ok = wait(fun() -> lists:all(fun is_free/1, ports()) end, 30000),
    Dir = proplists:get_value(priv_dir, Config),
    {0, _} = gen_rpc_test_certs:script([filename:join(Dir, "certs"), atom_to_list(?PARIS_EDGE),
                                        atom_to_list(?OSLO_EDGE)]),
    [{nodes, maps:map(fun(Node, File) -> start(Node, File, Dir) end, ?FILES)} | Config].

end_per_suite(Config) ->
    maps:foreach(fun(_, Node) -> ok = gen_rpc_test_node:stop(Node) end,
                 proplists:get_value(nodes, Config)).

ports() ->
    ?PLAIN_PORTS ++ [Port || {_, Port} <- ?TLS_PORTS].

%% Another run of the tests may have them for a while.
is_free(Port) ->
    case gen_tcp:listen(Port, [{reuseaddr, true}]) of
        {ok, Socket} -> gen_tcp:close(Socket) =:= ok;
        {error, eaddrinuse} -> false
    end.

%% The directory is the one that the names of files in the configurations start from.
start(Node, File, Dir) ->
    [Name, Host] = string:lexemes(atom_to_list(Node), "@"),
    {ok, Peer, Node} =
        peer:start(#{name => Name, host => Host, longnames => true, connection => standard_io,
                     exec => {"/bin/sh", ["-c", "cd \"$0\" && exec \"$@\"", Dir,
                                          os:find_executable("erl")]},
                     args => ["-setcookie", ?COOKIE, "-dist_listen", "false",
                              "-start_epmd", "false", "-config", example(File),
                              "-pa" | [filename:absname(Path) || Path <- code:get_path()]]}),
    T = #{peer => Peer, node => Node, port => 0},
    ok = gen_rpc_test_events:install(T),
    {ok, _} = call(T, application, ensure_all_started, [gen_rpc]),
    T.

%%% Cases

%% Inner node and edge call each other.
inside_a_site(Config) ->
    [?assertEqual(To, call(node(Config, From), gen_rpc, call, [To, erlang, node, []]))
     || {Inner, Edge} <- sites(), {From, To} <- [{Inner, Edge}, {Edge, Inner}]].

%% An inner node calls one of the other site by way of both edges, with the helper of the README. It
%% sees what it would see inside: values, failures, megabytes.
across(Config) ->
    {ok, two_sites, Beam} = compile:file(example("two_sites.erl"), [binary, return_errors]),
    Binary = crypto:strong_rand_bytes(5000000),
    [begin
         T = node(Config, From),
         {module, two_sites} = call(T, code, load_binary, [two_sites, "two_sites.erl", Beam]),
         Call = fun(M, F, A) -> call(T, two_sites, call, [Edge, OtherEdge, To, M, F, A]) end,
         ?assertEqual(To, Call(erlang, node, [])),
         ?assertEqual(Binary, Call(erlang, list_to_binary, [[Binary]])),
         ?assertMatch({badrpc, {'EXIT', {badarith, _}}}, Call(erlang, 'div', [1, 0])),
         ?assertEqual([Edge], call(T, gen_rpc, nodes, []))
     end || {From, Edge, OtherEdge, To} <- ways()].

%% What leaves a site is encrypted, with certificates on both sides; what stays inside is not.
only_the_way_across_is_encrypted(Config) ->
    Inside = [{From, To, tcp} || {Inner, Edge} <- sites(),
                                 {From, To} <- [{Inner, Edge}, {Edge, Inner}]],
    Across = [{Edge, OtherEdge, ssl} || {_, Edge, OtherEdge, _} <- ways()],
    ?assertEqual(lists:sort(Inside ++ Across),
                 lists:sort([{From, To, driver(gen_rpc_test_node:connection(T, To))}
                             || {From, T} <- maps:to_list(proplists:get_value(nodes, Config)),
                                To <- call(T, gen_rpc, nodes, [])])),
    %% As the edges see who has come in.
    [?assertEqual({Edge, [ssl, tcp]}, {Edge, lists:sort([driver(Info) || Info <- Accepted])})
     || {_, Edge} <- sites(), Accepted <- [gen_rpc_test_node:acceptors(node(Config, Edge))]].

driver(#{state := open, tls := undefined}) -> tcp;
driver(#{state := open, tls := #{version := _, cipher := _}}) -> ssl.

%% The configuration of an inner node has no other way to the inner nodes of the other site.
no_other_way_across(Config) ->
    [?assertEqual({badrpc, nodedown},
                  call(node(Config, From), gen_rpc, call, [To, erlang, node, []]))
     || {From, _, _, To} <- ways()].

%% Who does not speak TLS is sent not a single byte by the port outside.
plain_client_gets_nothing(Config) ->
    [begin
         Socket = gen_rpc_test_stranger:connect(Port),
         ok = gen_tcp:send(Socket, hello(Edge)),
         ?assertEqual(closed, gen_rpc_test_stranger:recv(Socket, 0)),
         ok = gen_tcp:close(Socket),
         ?assertEqual([not_tls], refusals(node(Config, Edge)))
     end || {Edge, Port} <- ?TLS_PORTS].

%% Who has no certificate gets no answer to its hello; who has one gets it.
client_without_certificate_gets_nothing(Config) ->
    Certs = filename:join(proplists:get_value(priv_dir, Config), "certs"),
    [begin
         Say = fun(Arguments) ->
                       Program = gen_rpc_test_tls:s_client(
                                   Port, ["-quiet", "-CAfile", filename:join(Certs, "ca.pem")
                                          | Arguments], interactive),
                       ok = gen_rpc_test_tls:type(Program, hello(Edge)),
                       Program
               end,
         {_, Output} = gen_rpc_test_tls:end_of(Say([])),
         ?assertEqual({Edge, nomatch}, {Edge, string:find(Output, ?MAGIC)}),
         ?assertEqual([no_certificate], refusals(node(Config, Edge))),
         File = fun(Kind) -> filename:join(Certs, atom_to_list(Edge) ++ Kind) end,
         {Program, _} = gen_rpc_test_tls:read_until(
                          Say(["-cert", File(".pem"), "-key", File(".key")]), ?MAGIC),
         ok = gen_rpc_test_tls:stop(Program)
     end || {Edge, Port} <- ?TLS_PORTS].

hello(Edge) ->
    gen_rpc_test_stranger:hello(<<"stranger@127.0.0.1">>, atom_to_binary(Edge)).

%% The files of one site are those of the other with names and ports exchanged: the README has one.
both_sites_are_alike(_Config) ->
    [?assertEqual(exchanged(read(example("paris-" ++ File))), read(example("oslo-" ++ File)))
     || File <- ["inner.config", "edge.config"]].

exchanged(Text) ->
    lists:foldl(fun({Paris, Oslo}, Acc) ->
                        Steps = [{Oslo, "\0"}, {Paris, Oslo}, {"\0", Paris}],
                        lists:foldl(fun({From, To}, A) ->
                                            lists:flatten(string:replace(A, From, To, all))
                                    end, Acc, Steps)
                end, Text, [{"Paris", "Oslo"}, {"127.0.1.", "127.0.2."}, {" 53", " 54"}]).

%% What the README shows is what is tested here.
readme_has_the_files(_Config) ->
    Readme = read(filename:join(root_dir(), "README.md")),
    [?assertEqual({File, true}, {File, string:find(Readme, read(example(File))) =/= nomatch})
     || File <- ["paris-inner.config", "paris-edge.config", "two_sites.erl"]].

%%% Helpers

sites() ->
    [{?PARIS_INNER, ?PARIS_EDGE}, {?OSLO_INNER, ?OSLO_EDGE}].

%% From an inner node, by two edges, to an inner node.
ways() ->
    [{From, Edge, OtherEdge, To} || {From, Edge} <- sites(), {To, OtherEdge} <- sites(),
                                    From =/= To].

node(Config, Node) ->
    maps:get(Node, proplists:get_value(nodes, Config)).

%% Why an edge has refused somebody, since the last time.
refusals(Edge) ->
    Reasons = [Reason || #{reason := {tls, Reason}} <- lines(Edge, "peer refused", 1)],
    ok = gen_rpc_test_events:clear(Edge),
    Reasons.

read(File) ->
    {ok, Bytes} = file:read_file(File),
    unicode:characters_to_list(Bytes).

example(File) ->
    filename:join([root_dir(), "examples", "two-sites", File]).

root_dir() ->
    filename:dirname(filename:dirname(proplists:get_value(source, ?MODULE:module_info(compile)))).
