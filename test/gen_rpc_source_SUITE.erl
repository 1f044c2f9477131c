%% SPDX-License-Identifier: Apache-2.0
%% External sources: what they may answer, what becomes of their failures, and who waits for them.
%% The built-in ones are in gen_rpc_dns_source_SUITE and gen_rpc_epmd_source_SUITE.
-module(gen_rpc_source_SUITE).

-behaviour(ct_suite).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, groups/0, init_per_suite/1, end_per_suite/1,
         init_per_testcase/2, end_per_testcase/2]).
-export([every_answer/1, module_and_function/1, targets_in_order/1, address_of_version_6/1,
         each_key_asks/1, asked_once_for_many/1, own_node_is_not_asked_for/1,
         node_without_host/1, asked_anew_after_the_end/1]).
-export([errors_reach_the_caller/1, crashes_reach_the_caller/1, wrong_answers_reach_the_caller/1,
         no_such_source/1, late_answer_reaches_nobody/1, two_errors_then_recovery/1,
         secrets_stay_out_of_the_log/1, casts_are_dropped/1, broadcasts_go_on/1]).
-export([slow_one_delays_only_its_callers/1, own_limit_is_shorter/1, strays_while_asking/1,
         client_stops_while_asking/1, client_killed_while_asking/1, linked_process_lives_on/1]).
-export([ssl_by_source/1, ssl_without_options/1, ssl_as_default/1]).

-import(gen_rpc_test_node, [call/4, run/2, wait/1]).
-import(gen_rpc_test_pair, [lines/2, lines/3]).
-import(gen_rpc_test_source, [says/3, asked/1]).

%% Longer than any test: a wait with this limit ends for another reason, or not at all.
-define(LONG, 60000).

-define(TARGET, gen_rpc_test_target).
-define(NOBODY, 'nobody@127.0.0.1').

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [{group, Group} || {Group, _, _} <- groups()].

groups() ->
    [{answers, [], [every_answer, module_and_function, targets_in_order, address_of_version_6,
                    each_key_asks, asked_once_for_many, own_node_is_not_asked_for,
                    node_without_host, asked_anew_after_the_end]},
     {failures, [], [errors_reach_the_caller, crashes_reach_the_caller,
                     wrong_answers_reach_the_caller, no_such_source, late_answer_reaches_nobody,
                     two_errors_then_recovery, secrets_stay_out_of_the_log, casts_are_dropped,
                     broadcasts_go_on]},
     {slow, [], [slow_one_delays_only_its_callers, own_limit_is_shorter, strays_while_asking,
                 client_stops_while_asking, client_killed_while_asking, linked_process_lives_on]},
     {ssl, [], [ssl_by_source, ssl_without_options, ssl_as_default]}].

init_per_suite(Config) ->
    {ok, _} = application:ensure_all_started(crypto),
    Dir = filename:join(proplists:get_value(priv_dir, Config), "certs"),
    #{pair := Pair} = Tls = gen_rpc_test_tls:start_pair(Dir),
    [{pair, Pair}, {tls, Tls} | Config].

end_per_suite(Config) ->
    gen_rpc_test_pair:stop(proplists:get_value(pair, Config)).

init_per_testcase(_Case, Config) ->
    Config.

end_per_testcase(_Case, Config) ->
    gen_rpc_test_pair:finish(proplists:get_value(pair, Config)).

restart(Config) ->
    restart(Config, []).

restart(Config, Settings) ->
    restart(Config, Settings, []).

%% The client asks the source of the tests, unless its settings name another one.
restart(Config, Settings, ServerSettings) ->
    Pair = gen_rpc_test_pair:restart(proplists:get_value(pair, Config),
                                     Settings ++ [gen_rpc_test_source:source()], ServerSettings),
    {Client, _} = Pair,
    ok = call(Client, ?TARGET, start_counter, []),
    Pair.

%%% Answers

%% What an answer leaves out is the default: of the driver, the port, and the node's own host.
every_answer(Config) ->
    {_, #{node := Node, port := Port}} = restart(Config),
    {Client, _} = restart(Config, [{tcp_client_port, Port}], [{tcp_server_port, Port}]),
    [begin
         ok = says(Client, Node, fun() -> Answer end),
         ?assertEqual({Answer, Node}, {Answer, echo(Client, {Node, Answer})}),
         ?assertEqual([Node], asked(Client))
     end || Answer <- [{tcp, Port}, Port, tcp, {tcp, "127.0.0.1", Port},
                       {tcp, "localhost", Port}, {tcp, {127, 0, 0, 1}, Port},
                       [{tcp, "127.0.0.1", Port}]]],
    ?assertEqual([], gen_rpc_test_events:ours(Client)).

%% Any function of one argument will do.
module_and_function(Config) ->
    {Client, #{node := Node, port := Port}} =
        restart(Config, [{client_config_per_node, {gen_rpc_test_source, elsewhere}}]),
    ok = says(Client, Node, fun() -> {tcp, Port} end),
    ?assertEqual(Node, echo(Client, Node)),
    ok = says(Client, Node, fun() -> {error, no_idea} end),
    ?assertEqual({badrpc, {external_source_error, no_idea}}, echo(Client, {Node, key})).

%% Of several targets the first that can be reached is taken, whatever is wrong with those before.
%% If none can, the log tells the failure that says most.
targets_in_order(Config) ->
    {Client, #{node := Node, port := Port}} = restart(Config),
    Closed = gen_rpc_test_node:free_port(),
    ok = call(Client, inet_db, set_lookup, [[file]]),
    Wrong = [{tcp, "127.0.0.1", Closed}, {tcp, "no.such.host", Port}],
    ok = says(Client, Node, fun() -> Wrong ++ [{tcp, "127.0.0.1", Port}] end),
    ?assertEqual(Node, echo(Client, Node)),
    ?assertEqual([], gen_rpc_test_events:ours(Client)),
    ok = says(Client, Node, fun() -> Wrong end),
    ?assertEqual({badrpc, nodedown}, echo(Client, {Node, 1})),
    ok = says(Client, Node, fun() -> lists:reverse(Wrong) end),
    ?assertEqual({badrpc, nodedown}, echo(Client, {Node, 2})),
    ok = call(Client, inet_db, set_lookup, [[native]]),
    [?assertMatch(#{reason := econnrefused, address := "127.0.0.1", port := Closed}, Line)
     || Line <- lines(Client, "cannot connect", 2)].

%% An address is taken as it is, of either version.
address_of_version_6(Config) ->
    {Client, #{node := Node}} = restart(Config),
    Closed = gen_rpc_test_node:free_port(),
    ok = says(Client, Node, fun() -> {tcp, {0, 0, 0, 0, 0, 0, 0, 1}, Closed} end),
    ?assertEqual({badrpc, nodedown}, echo(Client, Node)),
    ?assertMatch([#{address := "::1", port := Closed}], lines(Client, "cannot connect")).

%% Each connection asks for itself, and the source hears of the node, never of the key.
each_key_asks(Config) ->
    {Client, #{node := Node, port := Port}} = restart(Config),
    ok = says(Client, Node, fun() -> Port end),
    [?assertEqual(Node, echo(Client, Dest))
     || Dest <- [Node, {Node, secret}, {Node, "key"}, Node, {Node, secret}]],
    ?assertEqual([Node, Node, Node], asked(Client)).

%% Callers of one destination wait for one answer.
asked_once_for_many(Config) ->
    {Client, #{node := Node, port := Port}} = restart(Config),
    ok = says(Client, Node, fun() -> {through, gate} = ?TARGET:wait_at_gate(gate), Port end),
    Calls = gen_rpc_test_task:start(20, fun(_) -> echo(Client, Node) end),
    wait(fun() -> waiting(Client, Node) =:= 20 end),
    ok = open_gate(Client),
    ?assertEqual([Node], lists:usort(gen_rpc_test_task:results(Calls))),
    ?assertEqual([Node], asked(Client)).

%% The own node needs no connection.
own_node_is_not_asked_for(Config) ->
    {#{node := Own} = Client, _} = restart(Config),
    [?assertEqual(Own, echo(Client, Dest)) || Dest <- [Own, {Own, key}]],
    ?assertEqual([], asked(Client)).

%% A name without a host is no matter for an answer with one.
node_without_host(Config) ->
    {Client, #{port := Port}} = restart(Config),
    ok = says(Client, nohost, fun() -> Port end),
    ?assertEqual({badrpc, nodedown}, echo(Client, nohost)),
    ok = says(Client, nohost, fun() -> {tcp, "127.0.0.1", Port} end),
    ?assertEqual({badrpc, nodedown}, echo(Client, nohost)),
    ?assertMatch([#{reason := no_host_in_node_name}, #{reason := wrong_node}],
                 lines(Client, "cannot connect")).

%% Answers are not kept: a node that is somewhere else after its connection has ended is found.
asked_anew_after_the_end(Config) ->
    {Client, #{node := Node, port := Port} = Server} = restart(Config),
    ok = says(Client, Node, fun() -> Port end),
    ?assertEqual(Node, echo(Client, Node)),
    #{port := Port2} = gen_rpc_test_node:restart_app(Server, []),
    wait(fun() -> call(Client, gen_rpc, nodes, []) =:= [] end),
    ok = says(Client, Node, fun() -> Port2 end),
    ?assertEqual(Node, echo(Client, Node)),
    ?assertEqual([Node], asked(Client)).

%%% Failures

%% What the source says is what the caller gets, and one line in the log.
errors_reach_the_caller(Config) ->
    {Client, _} = restart(Config),
    Reasons = [unknown_node, {http, 503}, "text", {error, twice}],
    [begin
         ok = says(Client, ?NOBODY, fun() -> {error, Reason} end),
         ?assertEqual({badrpc, {external_source_error, Reason}}, echo(Client, ?NOBODY))
     end || Reason <- Reasons],
    Logged = [{external_source_error, Reason}
              || Reason <- lists:droplast(Reasons) ++ [{error, other}]],
    ?assertEqual([{?NOBODY, Reason} || Reason <- Logged],
                 [{Node, Reason} || #{node := Node, reason := Reason}
                                        <- lines(Client, "cannot connect")]),
    ?assertEqual(length(Reasons), length(gen_rpc_test_events:ours(Client))).

%% However it ends, the caller hears how, and nothing else of the node is touched.
crashes_reach_the_caller(Config) ->
    {Client, #{node := Node, port := Port}} = restart(Config),
    ok = says(Client, Node, fun() -> Port end),
    Node = echo(Client, Node),
    [begin
         ok = says(Client, ?NOBODY, Fun),
         ?assertEqual({badrpc, {external_source_error, Expected}}, echo(Client, ?NOBODY))
     end || {Fun, Expected} <-
                [{fun() -> error(oops) end, {error, oops}},
                 {fun() -> ?TARGET:match(wrong) end, {error, {badmatch, wrong}}},
                 {fun() -> ?TARGET:only_zero(1) end, {error, function_clause}},
                 {fun() -> throw(ball) end, {throw, ball}},
                 {fun() -> exit(enough) end, {exit, enough}},
                 {fun() -> exit(normal) end, {exit, normal}},
                 {fun() -> ?TARGET:end_self(kill) end, {exit, killed}},
                 {fun() -> ?TARGET:end_self(normal) end, {exit, normal}},
                 {fun() -> ?TARGET:link_to_one_that_ends(reason) end, {exit, reason}}]],
    ?assertEqual(9, length(lines(Client, "cannot connect"))),
    ?assertEqual(Node, echo(Client, Node)),
    ?assertEqual(1, call(Client, ets, info, [gen_rpc_registry, size])).

%% What is none of the shapes is shown to the caller.
wrong_answers_reach_the_caller(Config) ->
    {Client, _} = restart(Config),
    Long = lists:duplicate(256, $h),
    [begin
         ok = says(Client, ?NOBODY, fun() -> Answer end),
         ?assertEqual({badrpc, {external_source_error, {bad_config, Answer}}},
                      echo(Client, ?NOBODY))
     end || Answer <- [ok, undefined, udp, 0, 65536, -1, "5369", <<"tcp">>, [], #{}, self(), {},
                       error, {error}, {error, a, b}, {ok, 5369}, {tcp}, {tcp, 0}, {tcp, "5369"},
                       {udp, 5369}, {5369, tcp}, {tcp, "host", 0}, {tcp, "", 1}, {tcp, host, 1},
                       {tcp, <<"host">>, 1}, {tcp, Long, 1}, {tcp, "h h", 1}, {tcp, "h\n", 1},
                       {tcp, [$h | $h], 1}, {tcp, [-1], 1}, {tcp, {1, 2, 3, 256}, 1},
                       {tcp, {1, 2, 3}, 1}, {udp, "host", 1}, {"host", tcp, 1},
                       {tcp, "host", 1, 2}, [tcp], [5369], [{tcp, 5369}], [{tcp, "h", 1} | tcp],
                       [{tcp, "h", 1}, {error, no}], [{tcp, "h", 1}, 1]]].

%% A module or a function that does not exist is a crash like others, not one of the start.
no_such_source(Config) ->
    [begin
         {Client, _} = restart(Config, [{client_config_per_node, Source}]),
         ?assertEqual({badrpc, {external_source_error, {error, undef}}}, echo(Client, ?NOBODY))
     end || Source <- [{external, no_such_module}, {no_such_module, f}, {lists, no_such_function},
                       {external, lists}]].

%% One that takes longer than connect_timeout is killed.
late_answer_reaches_nobody(Config) ->
    {Client, _} = restart(Config, [{connect_timeout, 100}]),
    ok = says(Client, ?NOBODY, fun() -> ?TARGET:wait_at_gate(gate) end),
    ?assertEqual({badrpc, {external_source_error, timeout}}, echo(Client, ?NOBODY)),
    ?assertEqual(undefined, call(Client, erlang, whereis, [gate])),
    ?assertMatch([#{reason := {external_source_error, timeout}}], lines(Client, "cannot connect")).

%% Each call asks anew, so a source that has recovered is used at once.
two_errors_then_recovery(Config) ->
    {Client, #{node := Node, port := Port}} = restart(Config),
    ok = says(Client, Node, fun() -> {error, starting} end),
    ?assertEqual({badrpc, {external_source_error, starting}}, echo(Client, Node)),
    ok = says(Client, Node, fun() -> error(oops) end),
    ?assertEqual({badrpc, {external_source_error, {error, oops}}}, echo(Client, Node)),
    ok = says(Client, Node, fun() -> Port end),
    ?assertEqual(Node, echo(Client, Node)),
    ?assertEqual(2, length(lines(Client, "cannot connect"))).

%% What a source did not mean to say is not logged: neither the values in a crash, nor its stack,
%% nor an answer of no known shape. Keys never are.
secrets_stay_out_of_the_log(Config) ->
    {Client, _} = restart(Config),
    Say = fun(Fun) ->
                  ok = says(Client, ?NOBODY, Fun),
                  {badrpc, _} = echo(Client, {?NOBODY, "chocolate"}),
                  true = call(Client, gen_rpc, cast, [{?NOBODY, "chocolate"}, erlang, node, []])
          end,
    [Say(Fun) || Fun <- [fun() -> ?TARGET:match("chocolate") end,
                         fun() -> ?TARGET:only_zero("chocolate") end,
                         fun() -> error("chocolate") end,
                         fun() -> exit({"chocolate"}) end,
                         fun() -> throw("chocolate") end,
                         fun() -> {ok, "chocolate"} end]],
    ?assertEqual(nomatch, string:find(gen_rpc_test_events:text(Client), "chocolate")),
    Expected = [{error, badmatch}, {error, function_clause}, {error, other}, {exit, other},
                {throw, other}, bad_config],
    ?assertEqual([{external_source_error, Reason} || Reason <- Expected],
                 [Reason || #{reason := Reason} <- lines(Client, "cast dropped")]).

%% Casts of all kinds are dropped with a line that says why, and counted.
casts_are_dropped(Config) ->
    {Client, _} = restart(Config),
    ok = says(Client, ?NOBODY, fun() -> {error, no_idea} end),
    Failed = fun() -> maps:get(casts_failed, call(Client, gen_rpc_counters, get, [])) end,
    Before = Failed(),
    ?assertEqual(true, call(Client, gen_rpc, cast, [?NOBODY, erlang, node, []])),
    ?assertEqual(true, call(Client, gen_rpc, ordered_cast, [?NOBODY, erlang, node, []])),
    [?assertMatch([#{node := ?NOBODY, reason := {external_source_error, no_idea}}],
                  lines(Client, What)) || What <- ["cast dropped", "ordered cast dropped"]],
    ?assertEqual(2, Failed() - Before),
    ?assertEqual([?NOBODY, ?NOBODY], asked(Client)).

%% A broadcast reaches all others.
broadcasts_go_on(Config) ->
    {Client, #{node := Node, port := Port} = Server} = restart(Config),
    ok = says(Client, Node, fun() -> Port end),
    ok = says(Client, ?NOBODY, fun() -> error(oops) end),
    ok = call(Server, ?TARGET, start_counter, []),
    Message = fun(Term) -> [[?NOBODY, Node], ?TARGET, {count, Term}] end,
    ?assertEqual({[Node], [?NOBODY]}, call(Client, gen_rpc, sbcast, Message(one))),
    ?assertEqual(abcast, call(Client, gen_rpc, abcast, Message(two))),
    wait(fun() -> call(Server, ?TARGET, counted, []) =:= [one, two] end),
    ?assertMatch([#{reason := {external_source_error, {error, _}}}],
                 lines(Client, "broadcast dropped")).

%%% Slow ones

%% While the source thinks about one node, those who call it wait, and nobody else: not for another
%% node, that the source is asked for as well, not for a new connection, not for the dispatcher.
slow_one_delays_only_its_callers(Config) ->
    {Client, #{node := Node, port := Port}} = restart(Config, [{connect_timeout, ?LONG}]),
    ok = says(Client, Node, fun() -> Port end),
    ok = says(Client, ?NOBODY, fun() -> ?TARGET:wait_at_gate(gate), {error, slow} end),
    Waiting = gen_rpc_test_task:start(20, fun(_) -> echo(Client, ?NOBODY) end),
    wait(fun() -> waiting(Client, ?NOBODY) =:= 20 end),
    [?assertEqual(Node, echo(Client, {Node, Key})) || Key <- lists:seq(1, 20)],
    [?assertEqual(Node, echo(Client, {Node, Key})) || Key <- lists:seq(1, 20)],
    ?assertEqual({error, unknown_call},
                 call(Client, gen_server, call, [gen_rpc_dispatcher, hello])),
    ?assertEqual(20, length([T || T <- Waiting, gen_rpc_test_task:is_running(T)])),
    ok = open_gate(Client),
    ?assertEqual([{badrpc, {external_source_error, slow}}],
                 lists:usort(gen_rpc_test_task:results(Waiting))).

%% A caller's own time limit holds meanwhile, and nothing is left in its mailbox. The answer serves
%% the next one.
own_limit_is_shorter(Config) ->
    {Client, #{node := Node, port := Port}} = restart(Config, [{connect_timeout, ?LONG}]),
    ok = says(Client, Node, fun() -> ?TARGET:wait_at_gate(gate), Port end),
    ?assertEqual({{badrpc, timeout}, []},
                 run(Client, fun() ->
                                     Result = gen_rpc:call(Node, erlang, node, [], 50),
                                     ok = ?TARGET:open_gate(gate),
                                     wait(fun() -> gen_rpc:nodes() =:= [Node] end),
                                     {Result, element(2, process_info(self(), messages))}
                             end)),
    ?assertEqual(true, call(Client, gen_rpc, cast, [{Node, key}, erlang, node, [], 50])),
    ?assertMatch([#{reason := timeout}], lines(Client, "cast dropped")),
    ok = open_gate(Client),
    ?assertEqual(Node, echo(Client, Node)).

%% A client that waits for the source is a server like others.
strays_while_asking(Config) ->
    {Client, #{node := Node, port := Port}} = restart(Config, [{connect_timeout, ?LONG}]),
    ok = says(Client, Node, fun() -> ?TARGET:wait_at_gate(gate), Port end),
    Waiting = gen_rpc_test_task:start(fun() -> echo(Client, {Node, "chocolate"}) end),
    wait(fun() -> at_gate(Client) end),
    Strays = fun() ->
                     {ok, Pid} = gen_rpc_registry:client({Node, "chocolate"}),
                     [Pid ! Stray || Stray <- [hello, {self(), {ok, 1}}, {'EXIT', self(), kill},
                                               {timeout, make_ref(), gen_rpc_foreign}, timeout]],
                     ok = gen_server:cast(Pid, hello),
                     {error, unknown_call} = gen_server:call(Pid, hello),
                     sys:get_status(Pid)
             end,
    Status = run(Client, Strays),
    ?assertEqual(nomatch, string:find(io_lib:format("~p", [Status]), "chocolate")),
    ?assertEqual(5, length(lines(Client, "unexpected message ignored"))),
    ok = open_gate(Client),
    ?assertEqual(Node, gen_rpc_test_task:result(Waiting)).

%% Who stops the application does not wait for a source; and nothing of it is left.
client_stops_while_asking(Config) ->
    {Client, _} = restart(Config, [{connect_timeout, infinity}]),
    ok = says(Client, ?NOBODY, fun() ->
                                       _ = process_flag(trap_exit, true),
                                       ?TARGET:wait_at_gate(gate)
                               end),
    Waiting = gen_rpc_test_task:start(
                fun() ->
                        run(Client, fun() -> catch gen_rpc:call(?NOBODY, erlang, node, []) end)
                end),
    wait(fun() -> at_gate(Client) end),
    ok = gen_rpc_test_node:stop_app(Client),
    ?assertNot(at_gate(Client)),
    case gen_rpc_test_task:result(Waiting) of
        {badrpc, nodedown} -> ok;
        {'EXIT', {{not_started, gen_rpc}, _}} -> ok
    end.

%% Nor when its client is killed; the callers get another one, which asks again.
client_killed_while_asking(Config) ->
    {Client, #{node := Node, port := Port}} = restart(Config, [{connect_timeout, ?LONG}]),
    ok = says(Client, Node, fun() -> ?TARGET:wait_at_gate(gate), Port end),
    Waiting = gen_rpc_test_task:start(fun() -> echo(Client, Node) end),
    wait(fun() -> at_gate(Client) end),
    First = call(Client, erlang, whereis, [gate]),
    true = run(Client, fun() ->
                               {ok, Pid} = gen_rpc_registry:client(Node),
                               exit(Pid, kill)
                       end),
    wait(fun() -> not lists:member(call(Client, erlang, whereis, [gate]), [First, undefined]) end),
    ok = open_gate(Client),
    ?assertEqual(Node, gen_rpc_test_task:result(Waiting)),
    ?assertEqual([Node, Node], asked(Client)),
    %% Its supervisor has reported it.
    ok = gen_rpc_test_events:clear(Client).

%% A source may start something that it links itself to, a connection to its registry for instance.
linked_process_lives_on(Config) ->
    {Client, #{node := Node, port := Port}} = restart(Config),
    ok = says(Client, Node, fun() ->
                                    Pid = ?TARGET:start_linked(),
                                    true = register(linked, Pid),
                                    Port
                            end),
    ?assertEqual(Node, echo(Client, Node)),
    Linked = call(Client, erlang, whereis, [linked]),
    wait(fun() -> call(Client, erlang, process_info, [Linked, links]) =:= {links, []} end),
    true = call(Client, erlang, exit, [Linked, kill]).

%%% TLS by a source

%% With options, a source can say ssl, whatever the default driver is; the certificate must be that
%% of the node, wherever it was found.
ssl_by_source(Config) ->
    {Client, #{node := Node, ssl_port := Port}} = restart_ssl(Config, [options(Config)]),
    [begin
         ok = says(Client, Node, fun() -> Answer end),
         Dest = {Node, Answer},
         ?assertEqual({Answer, Node}, {Answer, echo(Client, Dest)}),
         ?assertMatch(#{tls := #{version := _}}, gen_rpc_test_node:connection(Client, Dest))
     end || Answer <- [{ssl, Port}, {ssl, "localhost", Port},
                       [{tcp, "127.0.0.1", gen_rpc_test_node:free_port()},
                        {ssl, {127, 0, 0, 1}, Port}]]],
    ok = says(Client, ?NOBODY, fun() -> {ssl, Port} end),
    ?assertEqual({badtcp, {tls, wrong_name}}, echo(Client, ?NOBODY)).

%% Without them, the caller and the log say what is missing; TCP is as before.
ssl_without_options(Config) ->
    {Client, #{node := Node, port := Port, ssl_port := SslPort}} = restart_ssl(Config, []),
    Missing = {external_source_error, {missing_setting, ssl_client_options}},
    [begin
         ok = says(Client, Node, fun() -> Answer end),
         ?assertEqual({badrpc, Missing}, echo(Client, Node))
     end || Answer <- [ssl, {ssl, SslPort}, {ssl, "127.0.0.1", SslPort},
                       [{tcp, "127.0.0.1", Port}, {ssl, "127.0.0.1", SslPort}]]],
    ?assertEqual(lists:duplicate(4, Missing),
                 [Reason || #{reason := Reason} <- lines(Client, "cannot connect")]),
    ok = says(Client, Node, fun() -> {tcp, Port} end),
    ?assertEqual(Node, echo(Client, Node)).

%% With ssl as the default driver a port is one for TLS, and the options are required at start.
ssl_as_default(Config) ->
    {Client, #{node := Node, ssl_port := Port}} =
        restart_ssl(Config, [options(Config), {default_client_driver, ssl}]),
    ok = says(Client, Node, fun() -> Port end),
    ?assertEqual(Node, echo(Client, Node)),
    ?assertMatch(#{tls := #{}}, gen_rpc_test_node:connection(Client, Node)),
    ok = gen_rpc_test_node:stop_app(Client),
    ok = call(Client, application, unset_env, [gen_rpc, ssl_client_options]),
    ?assertMatch({error, {{invalid_setting, {ssl_client_options, certfile}, _, _}, _}},
                 gen_rpc_test_pair:while_crashing(
                   Client, fun() -> call(Client, application, start, [gen_rpc]) end)).

restart_ssl(Config, Settings) ->
    #{server := Cert} = proplists:get_value(tls, Config),
    restart(Config, Settings, [{ssl_server_port, 0},
                               {ssl_server_options, gen_rpc_test_certs:options(Cert)}]).

options(Config) ->
    #{client := Cert} = proplists:get_value(tls, Config),
    {ssl_client_options, gen_rpc_test_certs:options(Cert)}.

%%% Helpers

%% What the node that is reached calls itself.
echo(From, Dest) ->
    call(From, gen_rpc, call, [Dest, erlang, node, [], ?LONG]).

at_gate(Client) ->
    call(Client, ?TARGET, at_gate, [gate]).

open_gate(Client) ->
    wait(fun() -> at_gate(Client) end),
    call(Client, ?TARGET, open_gate, [gate]).

%% How many callers wait for the client of a destination. The dispatcher monitors it as well.
waiting(Node, Dest) ->
    run(Node, fun() ->
                      case gen_rpc_registry:client(Dest) of
                          {ok, Pid} ->
                              {monitored_by, Pids} = process_info(Pid, monitored_by),
                              length(Pids) - 1;
                          none ->
                              0
                      end
              end).
