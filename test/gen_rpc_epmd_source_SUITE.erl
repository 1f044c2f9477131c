%% SPDX-License-Identifier: Apache-2.0
%% Ways to nodes by what they register with epmd, a real one on a free port, or with a module in its
%% place.
-module(gen_rpc_epmd_source_SUITE).

-behaviour(ct_suite).

-include_lib("proper/include/proper.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, groups/0, init_per_suite/1, end_per_suite/1,
         init_per_testcase/2, end_per_testcase/2]).
-export([requests/1, replies/1, replies_in_pieces/1, garbage/1, names/1]).
-export([registered_and_found/1, both_drivers/1, beside_the_distribution/1, off_by_default/1,
         gone_when_stopped/1, restarted_listener/1, strays/1]).
-export([no_epmd_at_first/1, epmd_restarts/1, name_in_use/1, broken_epmd/1]).
-export([not_registered/1, no_epmd/1, silent_epmd/1, node_without_host/1]).
-export([kept_for_its_time/1, looked_up_when_it_is_over/1, nothing_kept_without_time/1,
         looked_up_after_a_failed_attempt/1]).
-export([custom_module/1, old_custom_module/1, custom_module_in_trouble/1]).

-import(gen_rpc_test_node, [call/4, run/2, wait/1]).
-import(gen_rpc_test_pair, [lines/2, lines/3]).

%% Longer than any test: a wait with this limit ends for another reason, or not at all.
-define(LONG, 60000).

-define(SOURCE, {client_config_per_node, {external, gen_rpc_epmd_source}}).

%% Nodes that have no use for epmd themselves.
-define(ARGS, ["-dist_listen", "false", "-start_epmd", "false"]).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [{group, Group} || {Group, _, _} <- groups()].

groups() ->
    [{pure, [], [requests, replies, replies_in_pieces, garbage, names]},
     {works, [], [registered_and_found, both_drivers, beside_the_distribution, off_by_default,
                  gone_when_stopped, restarted_listener, strays]},
     {trouble, [], [no_epmd_at_first, epmd_restarts, name_in_use, broken_epmd]},
     {failures, [], [not_registered, no_epmd, silent_epmd, node_without_host]},
     {time_to_live, [], [kept_for_its_time, looked_up_when_it_is_over, nothing_kept_without_time,
                         looked_up_after_a_failed_attempt]},
     {custom, [], [custom_module, old_custom_module, custom_module_in_trouble]}].

init_per_suite(Config) ->
    Number = gen_rpc_test_node:free_port(),
    Options = [{args, ?ARGS}, {env, [{"ERL_EPMD_PORT", integer_to_list(Number)}]}],
    [{pair, gen_rpc_test_pair:start(Options, Options)}, {epmd, Number} | Config].

end_per_suite(Config) ->
    gen_rpc_test_pair:stop(proplists:get_value(pair, Config)).

%% The epmd of the case before may still be on its way out.
init_per_testcase(_Case, Config) ->
    wait(fun() -> not is_listening(proplists:get_value(epmd, Config)) end),
    Config.

end_per_testcase(_Case, Config) ->
    gen_rpc_test_pair:finish(proplists:get_value(pair, Config)).

restart(Config) ->
    restart(Config, [], []).

restart(Config, ClientSettings, ServerSettings) ->
    restart_pair(proplists:get_value(pair, Config), ClientSettings, ServerSettings).

%% The server last, with nothing cleared behind it: what it says at its start counts.
restart_pair(Pair, ClientSettings, ServerSettings) ->
    {Client, Server} = gen_rpc_test_pair:restart(Pair, [?SOURCE | ClientSettings], []),
    {Client, gen_rpc_test_node:restart_app(Server,
                                           ServerSettings ++ [{register_with_epmd, true}])}.

%%% Pure

%% As in "Distribution Protocol" of the ERTS user's guide.
requests(_Config) ->
    ?assertEqual(<<15:16, 120, 5369:16, 72, 0, 6:16, 5:16, 2:16, "ab", 0:16>>,
                 iolist_to_binary(gen_rpc_epmd_codec:alive("ab", 5369))),
    ?assertEqual(<<3:16, 122, "ab">>, iolist_to_binary(gen_rpc_epmd_codec:port_please("ab"))),
    ?assertEqual(<<3:16, 122, "ä"/utf8>>, iolist_to_binary(gen_rpc_epmd_codec:port_please("ä"))).

replies(_Config) ->
    [?assertEqual({Reply, Means}, {Reply, gen_rpc_epmd_codec:alive_reply(Reply)})
     || {Reply, Means} <- [{<<118, 0, 1:32>>, ok}, {<<121, 0, 1:16>>, ok},
                           {<<118, 1, 1:32>>, refused}, {<<121, 1, 1:16>>, refused}]],
    [?assertEqual({Reply, Means}, {Reply, gen_rpc_epmd_codec:port_reply(Reply)})
     || {Reply, Means} <- [{port_reply(), {ok, 5369}}, {<<119, 1>>, unknown_name}]].

port_reply() ->
    <<119, 0, 5369:16, 72, 0, 6:16, 5:16, 2:16, "ab", 0:16>>.

%% A part of a reply is none yet; of that to a look-up all up to the port is needed.
replies_in_pieces(_Config) ->
    [?assertEqual({N, more}, {N, Decode(binary:part(Reply, 0, N))})
     || {Decode, Reply, Needed} <-
            [{fun gen_rpc_epmd_codec:alive_reply/1, <<118, 0, 1:32>>, 6},
             {fun gen_rpc_epmd_codec:alive_reply/1, <<121, 0, 1:16>>, 4},
             {fun gen_rpc_epmd_codec:port_reply/1, port_reply(), 4}],
        N <- lists:seq(0, Needed - 1)].

garbage(_Config) ->
    ?assert(proper:quickcheck(prop_garbage(), [quiet, {numtests, 3000}])).

prop_garbage() ->
    Bytes = ?LET({Head, Rest}, {oneof([118, 119, 121, byte()]), binary()}, <<Head, Rest/binary>>),
    ?FORALL(Reply, Bytes,
            lists:member(gen_rpc_epmd_codec:alive_reply(Reply), [ok, refused, more, invalid])
                andalso case gen_rpc_epmd_codec:port_reply(Reply) of
                            {ok, Port} -> Port >= 0 andalso Port =< 65535;
                            Other -> lists:member(Other, [unknown_name, more, invalid])
                        end).

names(_Config) ->
    ?assertEqual({ok, "gen_rpc-tcp-a"}, gen_rpc_epmd:name(tcp, 'a@b.example')),
    ?assertEqual({ok, "gen_rpc-ssl-a"}, gen_rpc_epmd:name(ssl, 'a@b.example')),
    ?assertMatch({ok, _}, gen_rpc_epmd:name(ssl, list_to_atom(lists:duplicate(253, $a) ++ "@b"))),
    TooLong = list_to_atom(lists:duplicate(253, 16#1F36A) ++ "@b"),
    [?assertEqual(none, gen_rpc_epmd:name(tcp, Node))
     || Node <- [nonode@nohost, a, 'a@', '@b', '', TooLong]].

%%% What works

%% A node that registers is found by others, also on a port of the system's choice.
registered_and_found(Config) ->
    _ = epmd(Config),
    {Client, #{node := Node, port := Port} = Server} = restart(Config),
    wait(fun() -> entered(Config) =:= [{entry(tcp, Server), Port}] end),
    ?assertEqual(Node, echo(Client, Node)),
    ?assertEqual(Node, echo(Client, {Node, key})),
    [?assertEqual([], gen_rpc_test_events:ours(N)) || N <- [Client, Server]].

%% Each listener has its own name; the default driver of the one who calls decides.
both_drivers(Config) ->
    _ = epmd(Config),
    Dir = filename:join(proplists:get_value(priv_dir, Config), "certs"),
    {ok, _} = application:ensure_all_started(crypto),
    Ca = gen_rpc_test_certs:new(Dir),
    {Client0, Server0} = proplists:get_value(pair, Config),
    [ClientCert, ServerCert] = [gen_rpc_test_certs:options(gen_rpc_test_certs:node(Ca, Node))
                                || #{node := Node} <- [Client0, Server0]],
    {Client, #{node := Node, port := Port, ssl_port := SslPort} = Server} =
        restart(Config, [{ssl_client_options, ClientCert}, {default_client_driver, ssl}],
                [{ssl_server_options, ServerCert}, {ssl_server_port, 0}]),
    wait(fun() -> entered(Config) =:= [{entry(ssl, Server), SslPort},
                                       {entry(tcp, Server), Port}] end),
    ?assertEqual(Node, echo(Client, Node)),
    ?assertMatch(#{tls := #{}}, gen_rpc_test_node:connection(Client, Node)).

%% A node that has a name of its own in epmd keeps it.
beside_the_distribution(Config) ->
    _ = epmd(Config),
    {Client, _} = restart(Config),
    Env = [{"ERL_EPMD_PORT", integer_to_list(proplists:get_value(epmd, Config))}],
    #{node := Node, port := Port} = Server =
        gen_rpc_test_node:start([{env, Env}, {register_with_epmd, true}]),
    wait(fun() -> lists:member({entry(tcp, Server), Port}, entered(Config)) end),
    ?assert(lists:keymember(name(Server), 1, entered(Config))),
    ?assertEqual(Node, echo(Client, Node)),
    ok = gen_rpc_test_node:stop(Server).

off_by_default(Config) ->
    _ = epmd(Config),
    {Client, #{node := Node}} = restart(Config, [], [{register_with_epmd, false}]),
    ?assertEqual(failed(not_registered), echo(Client, Node)),
    ?assertEqual([], entered(Config)).

gone_when_stopped(Config) ->
    _ = epmd(Config),
    {_, Server} = restart(Config),
    wait(fun() -> length(entered(Config)) =:= 1 end),
    ok = gen_rpc_test_node:stop_app(Server),
    wait(fun() -> entered(Config) =:= [] end).

%% A listener that was killed has another port, unless the settings say which.
restarted_listener(Config) ->
    _ = epmd(Config),
    {Client, #{node := Node, port := Port} = Server} = restart(Config),
    wait(fun() -> entered(Config) =:= [{entry(tcp, Server), Port}] end),
    true = run(Server, fun() -> exit(whereis(gen_rpc_listener), kill) end),
    wait(fun() -> lists:member(entered(Config), [[{entry(tcp, Server), N}]
                                                 || N <- lists:seq(1, 65535), N =/= Port]) end),
    ?assertEqual(Node, echo(Client, Node)),
    ok = gen_rpc_test_events:clear(Server).

strays(Config) ->
    _ = epmd(Config),
    {_, Server} = restart(Config),
    wait(fun() -> length(entered(Config)) =:= 1 end),
    Strays = [hello, enter, {timeout, make_ref(), enter}, {self(), {ok, 1}}, {'EXIT', self(), a}],
    run(Server, fun() ->
                        [gen_rpc_epmd_entry ! Stray || Stray <- Strays],
                        ok = gen_server:cast(gen_rpc_epmd_entry, hello),
                        {error, unknown_call} = gen_server:call(gen_rpc_epmd_entry, hello)
                end),
    ?assertEqual(5, length(lines(Server, "unexpected message ignored"))),
    ?assertEqual(1, length(entered(Config))).

%%% Trouble with epmd: the application does not care, one line says so

no_epmd_at_first(Config) ->
    {Client, #{node := Node, port := Port} = Server} = restart(Config),
    ?assertEqual(failed(econnrefused), echo(Client, Node)),
    ?assertMatch([#{driver := tcp, reason := econnrefused}],
                 lines(Server, "not registered with epmd", 1)),
    _ = epmd(Config),
    wait(fun() -> entered(Config) =:= [{entry(tcp, Server), Port}] end),
    ?assertEqual(Node, echo(Client, Node)),
    ?assertEqual(1, length(lines(Server, "registered with epmd", 1))),
    ?assertEqual(2, length(gen_rpc_test_events:ours(Server))).

%% An epmd that was started anew knows nobody; the nodes register again.
epmd_restarts(Config) ->
    First = epmd(Config),
    {Client, #{node := Node, port := Port} = Server} = restart(Config),
    Entered = fun() -> entered(Config) =:= [{entry(tcp, Server), Port}] end,
    wait(Entered),
    Restart = fun(Round, Epmd) ->
                      ok = gen_rpc_test_events:clear(Server),
                      ok = gen_rpc_test_daemon:kill(Epmd),
                      ?assertMatch([#{reason := closed}],
                                   lines(Server, "not registered with epmd", 1)),
                      Next = epmd(Config),
                      wait(Entered),
                      ?assertEqual(1, length(lines(Server, "registered with epmd", 1))),
                      ?assertEqual(2, length(gen_rpc_test_events:ours(Server))),
                      ?assertEqual(Node, echo(Client, {Node, Round})),
                      Next
              end,
    _ = lists:foldl(Restart, First, [1, 2]),
    ok.

%% Two nodes of the same name on one host: the second one says so, and comes in when the first ends.
name_in_use(Config) ->
    _ = epmd(Config),
    {_, Server0} = proplists:get_value(pair, Config),
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, proplists:get_value(epmd, Config),
                                   [binary, {active, false}]),
    ok = gen_tcp:send(Socket, gen_rpc_epmd_codec:alive(entry(tcp, Server0), 7)),
    {ok, _} = gen_tcp:recv(Socket, 6),
    {_, #{port := Port} = Server} = restart(Config),
    ?assertMatch([#{reason := name_in_use}], lines(Server, "not registered with epmd", 1)),
    ?assertEqual([{entry(tcp, Server), 7}], entered(Config)),
    ok = gen_tcp:close(Socket),
    wait(fun() -> entered(Config) =:= [{entry(tcp, Server), Port}] end).

%% Something else that listens there.
broken_epmd(Config) ->
    Listening = listen(Config),
    Answerer = gen_rpc_test_task:start(fun() -> answer(Listening, <<"SSH-2.0">>) end),
    {Client, #{node := Node} = Server} = restart(Config),
    ?assertMatch([#{reason := invalid_answer}], lines(Server, "not registered with epmd", 1)),
    ?assertEqual(failed(invalid_answer), echo(Client, Node)),
    ok = gen_tcp:close(Listening),
    ?assertEqual(closed, gen_rpc_test_task:result(Answerer)).

listen(Config) ->
    Number = proplists:get_value(epmd, Config),
    {ok, Listening} = gen_tcp:listen(Number, [{ip, {127, 0, 0, 1}}, binary, {active, false},
                                              {reuseaddr, true}]),
    Listening.

answer(Listening, Bytes) ->
    case gen_tcp:accept(Listening) of
        {ok, Socket} ->
            {ok, _} = gen_tcp:recv(Socket, 0),
            ok = gen_tcp:send(Socket, Bytes),
            answer(Listening, Bytes);
        {error, Reason} ->
            Reason
    end.

%%% Failures of a look-up

not_registered(Config) ->
    _ = epmd(Config),
    {Client, _} = restart(Config),
    ?assertEqual(failed(not_registered), echo(Client, 'nobody@127.0.0.1')),
    ?assertMatch([#{reason := {external_source_error, {epmd, not_registered}}}],
                 lines(Client, "cannot connect")).

no_epmd(Config) ->
    {Client, #{node := Node} = Server} = restart(Config),
    ?assertEqual(failed(econnrefused), echo(Client, Node)),
    ?assertEqual(1, length(lines(Server, "not registered with epmd", 1))).

%% One that accepts and says nothing holds up nobody longer than connect_timeout.
silent_epmd(Config) ->
    Listening = listen(Config),
    {Client, #{node := Node}} = restart(Config, [{connect_timeout, 100}],
                                        [{register_with_epmd, false}]),
    case echo(Client, Node) of
        {badrpc, {external_source_error, timeout}} -> ok;
        {badrpc, {external_source_error, {epmd, timeout}}} -> ok
    end,
    ok = gen_tcp:close(Listening).

node_without_host(Config) ->
    {Client, _} = restart(Config, [], [{register_with_epmd, false}]),
    ?assertEqual(failed(invalid_node_name), echo(Client, nohost)).

%%% Time to live

%% What was found is used without epmd for source_cache_ttl.
kept_for_its_time(Config) ->
    Epmd = epmd(Config),
    {Client, #{node := Node} = Server} = restart(Config, [{source_cache_ttl, ?LONG}], []),
    wait(fun() -> length(entered(Config)) =:= 1 end),
    ?assertEqual(Node, echo(Client, Node)),
    ok = gen_rpc_test_daemon:kill(Epmd),
    [?assertEqual(Node, echo(Client, {Node, Key})) || Key <- [1, 2, 3]],
    ?assertEqual(1, length(lines(Server, "not registered with epmd", 1))).

looked_up_when_it_is_over(Config) ->
    Epmd = epmd(Config),
    {Client, #{node := Node}} = restart(Config, [{source_cache_ttl, 200}], []),
    wait(fun() -> length(entered(Config)) =:= 1 end),
    ?assertEqual(Node, echo(Client, Node)),
    ok = gen_rpc_test_daemon:kill(Epmd),
    wait(fun() -> get_config(Client, Node) =:= {error, {epmd, econnrefused}} end).

nothing_kept_without_time(Config) ->
    Epmd = epmd(Config),
    {Client, #{node := Node}} = restart(Config, [{source_cache_ttl, 0}], []),
    wait(fun() -> length(entered(Config)) =:= 1 end),
    ?assertEqual(Node, echo(Client, Node)),
    ok = gen_rpc_test_daemon:kill(Epmd),
    ?assertEqual(failed(econnrefused), echo(Client, {Node, key})).

%% A node that was started anew has another port: the first attempt at the old one fails, the next
%% asks epmd.
looked_up_after_a_failed_attempt(Config) ->
    _ = epmd(Config),
    {Client, #{node := Node, port := Port} = Server} =
        restart(Config, [{source_cache_ttl, infinite()}], []),
    wait(fun() -> entered(Config) =:= [{entry(tcp, Server), Port}] end),
    ?assertEqual({tcp, Port}, get_config(Client, Node)),
    NewPort = gen_rpc_test_node:free_port(),
    _ = gen_rpc_test_node:restart_app(Server, [{register_with_epmd, true},
                                               {tcp_server_port, NewPort}]),
    wait(fun() -> entered(Config) =:= [{entry(tcp, Server), NewPort}] end),
    ?assertEqual({badrpc, nodedown}, echo(Client, Node)),
    wait(fun() -> echo(Client, Node) =:= Node end).

infinite() -> 16#FFFFFFFE.

%%% A module in the place of epmd

custom_module(Config) ->
    by_custom_module(Config, gen_rpc_test_epmd).

%% One that has no functions with a driver and a time limit.
old_custom_module(Config) ->
    by_custom_module(Config, gen_rpc_test_epmd_old).

by_custom_module(Config, Module) ->
    Dir = new_directory(Config),
    {Client, #{node := Node, port := Port} = Server} = custom_pair(Dir, Module),
    wait(fun() ->
                 file:read_file(filename:join(Dir, entry(tcp, Server)))
                     =:= {ok, integer_to_binary(Port)}
         end),
    ?assertEqual(Node, echo(Client, Node)),
    ?assertEqual(failed(not_registered), echo(Client, 'nobody@127.0.0.1')),
    ?assertEqual([], gen_rpc_test_events:ours(Server)),
    ok = gen_rpc_test_pair:stop({Client, Server}).

%% Whatever it does, it is a line in the log there, and an error of the caller here.
custom_module_in_trouble(Config) ->
    [begin
         Dir = new_directory(Config),
         ok = file:write_file(filename:join(Dir, "trouble"), Trouble),
         {Client, #{node := Node} = Server} = custom_pair(Dir, gen_rpc_test_epmd),
         ?assertMatch([#{reason := Registering}], lines(Server, "not registered with epmd", 1)),
         ?assertEqual({badrpc, {external_source_error, LookingUp}}, echo(Client, Node)),
         ok = file:delete(filename:join(Dir, "trouble")),
         wait(fun() -> length(lines(Server, "registered with epmd")) =:= 1 end),
         ?assertEqual(Node, echo(Client, Node)),
         ?assertEqual([], gen_rpc_test_pair:crashes(Server)),
         ok = gen_rpc_test_pair:stop({Client, Server})
     end || {Trouble, Registering, LookingUp} <-
                [{"crash", {error, other}, {error, oops}},
                 {"refuse", no_room, {epmd, no_idea}},
                 {"nonsense", invalid_answer, {epmd, invalid_answer}},
                 {"hang", timeout, {epmd, not_registered}}]].

%% Nodes whose epmd is a module that keeps its names in a directory.
custom_pair(Dir, Module) ->
    Options = [{args, ["-epmd_module", atom_to_list(Module) | ?ARGS]},
               {env, [{"GEN_RPC_TEST_EPMD", Dir}]}],
    restart_pair(gen_rpc_test_pair:start(Options, Options), [], []).

new_directory(Config) ->
    Name = "epmd" ++ integer_to_list(erlang:unique_integer([positive])),
    Dir = filename:join(proplists:get_value(priv_dir, Config), Name),
    ok = file:make_dir(Dir),
    Dir.

%%% Helpers

epmd(Config) ->
    Number = proplists:get_value(epmd, Config),
    gen_rpc_test_daemon:start("epmd", ["-port", integer_to_list(Number), "-address", "127.0.0.1"],
                              fun() -> is_listening(Number) end).

is_listening(Number) ->
    case gen_tcp:connect({127, 0, 0, 1}, Number, []) of
        {ok, Socket} -> gen_tcp:close(Socket) =:= ok;
        {error, econnrefused} -> false
    end.

%% What epmd itself says that it knows, sorted.
entered(Config) ->
    Text = os:cmd("epmd -port " ++ integer_to_list(proplists:get_value(epmd, Config)) ++ " -names"),
    {match, Names} =
        case re:run(Text, "^name (.*) at port ([0-9]+)$",
                    [multiline, global, {capture, all_but_first, list}]) of
            nomatch -> {match, []};
            Match -> Match
        end,
    lists:sort([{Name, list_to_integer(Port)} || [Name, Port] <- Names]).

entry(Driver, #{node := Node}) ->
    {ok, Name} = gen_rpc_epmd:name(Driver, Node),
    Name.

name(#{node := Node}) ->
    {Name, _} = gen_rpc_dest:parts(Node),
    Name.

get_config(Client, Node) ->
    call(Client, gen_rpc_epmd_source, get_config, [Node]).

failed(Reason) ->
    {badrpc, {external_source_error, {epmd, Reason}}}.

%% What the node that is reached calls itself.
echo(From, Dest) ->
    call(From, gen_rpc, call, [Dest, erlang, node, [], ?LONG]).
