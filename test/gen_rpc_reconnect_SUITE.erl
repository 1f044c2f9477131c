%% SPDX-License-Identifier: Apache-2.0
%% A node that can't be reached: the first who wants it waits for an attempt to connect, and after that
%% nobody does. Attempts go on by themselves, with pauses that get longer, and when one succeeds traffic
%% flows again.
-module(gen_rpc_reconnect_SUITE).

-behaviour(ct_suite).

-include_lib("proper/include/proper.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([suite/0, all/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2,
         end_per_testcase/2]).
-export([nobody_waits_for_a_dead_node/1, every_function_says_so/1, back_without_being_called/1,
         one_line_when_it_goes_and_one_when_it_is_back/1, another_reason_is_news/1,
         its_own_call_is_a_sign_of_life/1, nodeup_is_a_sign_of_life/1,
         other_settings_are_tried_at_once/1,
         forgotten_when_nobody_wants_it/1, switched_off/1, pauses_get_longer/1]).

-import(gen_rpc_test_node, [call/4, run/2, wait/1]).
-import(gen_rpc_test_pair, [lines/2, lines/3]).

-define(AWAY, 'away@127.0.0.1').
-define(NODEDOWN, {badrpc, nodedown}).

%% Longer than any test: a wait with this limit ends for another reason, or not at all.
-define(LONG, 60000).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [nobody_waits_for_a_dead_node, every_function_says_so, back_without_being_called,
     one_line_when_it_goes_and_one_when_it_is_back, another_reason_is_news,
     its_own_call_is_a_sign_of_life, nodeup_is_a_sign_of_life, other_settings_are_tried_at_once,
     forgotten_when_nobody_wants_it, switched_off, pauses_get_longer].

init_per_suite(Config) ->
    [{pair, gen_rpc_test_pair:start()} | Config].

end_per_suite(Config) ->
    gen_rpc_test_pair:stop(pair(Config)).

init_per_testcase(_Case, Config) ->
    Config.

end_per_testcase(_Case, Config) ->
    gen_rpc_test_pair:finish(pair(Config)).

%% Once an attempt has failed callers are told at once, also while the next attempt is under way: this
%% one would take a minute.
nobody_waits_for_a_dead_node(Config) ->
    {Client, Hole} = refused_then_silent(Config),
    Calls = gen_rpc_test_task:start(
              50, fun(_) ->
                          run(Client, fun() -> [echo_here(?AWAY) || _ <- lists:seq(1, 20)] end)
                  end),
    ?assertEqual([?NODEDOWN], lists:usort(lists:append(gen_rpc_test_task:results(Calls)))),
    ?assertEqual([], call(Client, gen_rpc, nodes, [])),
    ok = gen_rpc_test_hole:close(Hole).

%% So it is with every function that goes to another node, and each says it in its own way. Other
%% connections to the same node have attempts of their own.
every_function_says_so(Config) ->
    {Client, Hole} = refused_then_silent(Config),
    Results = run(Client, fun every_function/0),
    [?assertEqual({Name, Expected}, {Name, Result}) || {Name, Expected, Result} <- Results],
    ?assertEqual(["broadcast dropped", "cast dropped", "ordered cast dropped"],
                 lists:usort([What || #{report := #{what := What, reason := nodedown}}
                                          <- gen_rpc_test_events:ours(Client)])),
    ok = gen_rpc_test_hole:close(Hole).

every_function() ->
    A = [?AWAY, erlang, node, []],
    NoConnection = {error, {erpc, noconnection}},
    [{call, ?NODEDOWN, apply(gen_rpc, call, A)},
     {cast, true, apply(gen_rpc, cast, A)},
     {safe_cast, ?NODEDOWN, apply(gen_rpc, safe_cast, A)},
     {ordered_cast, true, apply(gen_rpc, ordered_cast, A)},
     {async_call, ?NODEDOWN, gen_rpc:yield(apply(gen_rpc, async_call, A))},
     {multicall, {[], [?AWAY]}, gen_rpc:multicall([?AWAY], erlang, node, [])},
     {abcast, abcast, gen_rpc:abcast([?AWAY], name, message)},
     {sbcast, {[], [?AWAY]}, gen_rpc:sbcast([?AWAY], name, message)},
     {eval_everywhere, abcast, gen_rpc:eval_everywhere([?AWAY], erlang, node, [])},
     {erpc_call, NoConnection, caught(fun() -> apply(gen_rpc_erpc, call, A) end)},
     {erpc_multicall, [NoConnection], gen_rpc_erpc:multicall([?AWAY], erlang, node, [])},
     {send_request, NoConnection,
      caught(fun() -> gen_rpc_erpc:receive_response(apply(gen_rpc_erpc, send_request, A)) end)}].

caught(Fun) ->
    try
        Fun()
    catch
        Class:Reason -> {Class, Reason}
    end.

%% Attempts go on while nobody calls, so the node is connected soon after it is there.
back_without_being_called(Config) ->
    {Client, Node, Port} = away(Config, []),
    ?assertEqual(?NODEDOWN, echo(Client, Node)),
    _ = gen_rpc_test_node:restart_app(server(Config), [{tcp_server_port, Port}]),
    wait(fun() -> call(Client, gen_rpc, nodes, []) =:= [Node] end),
    ?assertEqual(Node, echo(Client, Node)).

%% However many attempts fail, and however many calls, the log does not grow with them.
one_line_when_it_goes_and_one_when_it_is_back(Config) ->
    {Client, Node, Port} = away(Config, [{reconnect_backoff_max, 20}]),
    [?assertEqual(?NODEDOWN, echo(Client, Node)) || _ <- lists:seq(1, 100)],
    ok = attempts_fail(10, Client, Node),
    _ = gen_rpc_test_node:restart_app(server(Config), [{tcp_server_port, Port}]),
    wait(fun() -> call(Client, gen_rpc, nodes, []) =:= [Node] end),
    ?assertMatch([#{what := "cannot connect", node := Node, reason := econnrefused},
                  #{what := "connected again", node := Node}],
                 [Report || #{report := Report} <- gen_rpc_test_events:ours(Client)]).

%% But it says so when something else is wrong than before.
another_reason_is_news(Config) ->
    {Client, Node, Port} = away(Config, [{reconnect_backoff_max, 20}]),
    ?assertEqual(?NODEDOWN, echo(Client, Node)),
    _ = gen_rpc_test_node:restart_app(server(Config), [{tcp_server_port, Port},
                                                       {secret_cookie, another}]),
    ?assertMatch([#{reason := econnrefused}, #{reason := invalid_cookie}],
                 lines(Client, "cannot connect", 2)),
    ?assertEqual({badrpc, invalid_cookie}, echo(Client, Node)).

%% A node that calls us is there: we don't wait for the end of a pause then, which here never comes.
its_own_call_is_a_sign_of_life(Config) ->
    {Client, Node, Port} = away(Config, []),
    ?assertEqual(?NODEDOWN, echo(Client, Node)),
    ok = pause_for_ever(Client, Node),
    Server = gen_rpc_test_node:restart_app(server(Config), [{tcp_server_port, Port},
                                                            gen_rpc_test_node:env([Client])]),
    ?assertEqual(maps:get(node, Client), echo(Server, maps:get(node, Client))),
    wait(fun() -> call(Client, gen_rpc, nodes, []) =:= [Node] end),
    ?assertEqual(Node, echo(Client, Node)).

%% So does distribution, where there is one, and its message. Callers wait for that attempt.
nodeup_is_a_sign_of_life(Config) ->
    {Client, Node, Port} = away(Config, []),
    ?assertEqual(?NODEDOWN, echo(Client, Node)),
    ok = pause_for_ever(Client, Node),
    _ = gen_rpc_test_node:restart_app(server(Config), [{tcp_server_port, Port}]),
    _ = call(Client, erlang, send, [gen_rpc_dispatcher, {nodeup, Node}]),
    wait(fun() -> call(Client, gen_rpc, nodes, []) =:= [Node] end),
    ?assertEqual(Node, echo(Client, Node)).

%% What was tried with other settings is tried anew by the next caller, who waits for that.
other_settings_are_tried_at_once(Config) ->
    {_, #{node := Node, port := Port}} = restart(Config, [], []),
    Wrong = gen_rpc_test_node:free_port(),
    Client = restart_client(Config, [way(Node, Wrong)]),
    ?assertEqual(?NODEDOWN, echo(Client, Node)),
    ok = pause_for_ever(Client, Node),
    ok = call(Client, application, set_env,
              [gen_rpc | tuple_to_list(way(Node, Port))]),
    ok = call(Client, gen_rpc, reconfigure, []),
    ?assertEqual(Node, echo(Client, Node)).

%% A minute after the last who wanted it, nobody tries any more. Who wants it keeps it alive.
forgotten_when_nobody_wants_it(Config) ->
    {Client, _} = restart(Config, [way(?AWAY, gen_rpc_test_node:free_port()),
                                   {reconnect_backoff_max, 20}], []),
    ?assertEqual(?NODEDOWN, echo(Client, ?AWAY)),
    {ok, Pid} = owner(Client, ?AWAY),
    ?assertEqual(?NODEDOWN, echo(Client, ?AWAY)),
    ok = a_minute_passes(Client, ?AWAY),
    ok = attempts_fail(2, Client, ?AWAY),
    ?assertEqual({ok, Pid}, owner(Client, ?AWAY)),
    ok = a_minute_passes(Client, ?AWAY),
    wait(fun() -> owner(Client, ?AWAY) =:= none end),
    ?assertEqual(?NODEDOWN, echo(Client, ?AWAY)),
    ?assertEqual(2, length(lines(Client, "cannot connect"))).

%% With reconnect_backoff_max 0 each call to a node without a connection is an attempt.
switched_off(Config) ->
    {Client, _} = restart(Config, [way(?AWAY, gen_rpc_test_node:free_port()),
                                   {reconnect_backoff_max, 0}], []),
    [?assertEqual(?NODEDOWN, echo(Client, ?AWAY)) || _ <- [1, 2, 3]],
    ?assertEqual(none, owner(Client, ?AWAY)),
    ?assertEqual(3, length(lines(Client, "cannot connect"))).

%% Each pause is at least half of what it could be; that doubles from 100 ms on, up to the limit.
pauses_get_longer(_Config) ->
    ?assert(proper:quickcheck(
              ?FORALL({Max, N}, {range(1, 100000), range(1, 30)},
                      begin
                          Longest = [min(Max, 100 bsl I) || I <- lists:seq(0, N - 1)],
                          lists:all(fun({P, Most}) -> P =< Most andalso 2 * P >= Most end,
                                    lists:zip(pauses(N, gen_rpc_backoff:new(Max)), Longest))
                      end),
              [{to_file, user}])),
    %% They are random: of a hundred nodes that lose the same peer not two thirds come back together.
    Firsts = [hd(pauses(1, gen_rpc_backoff:new(100000))) || _ <- lists:seq(1, 100)],
    ?assert(length(lists:usort(Firsts)) > 10, Firsts).

pauses(0, _Backoff) ->
    [];
pauses(N, Backoff) ->
    {Pause, Next} = gen_rpc_backoff:next(Backoff),
    [Pause | pauses(N - 1, Next)].

%%% Helpers

pair(Config) -> proplists:get_value(pair, Config).

server(Config) -> element(2, pair(Config)).

restart(Config, ClientSettings, ServerSettings) ->
    gen_rpc_test_pair:restart(pair(Config), ClientSettings, ServerSettings).

%% A client that knows where a node was that listens no more.
away(Config, Settings) ->
    {_, #{node := Node, port := Port}} = restart(Config, [], []),
    ok = gen_rpc_test_node:stop_app(server(Config)),
    {restart_client(Config, [way(Node, Port) | Settings]), Node, Port}.

%% The server stays as it is.
restart_client(Config, Settings) ->
    Client = gen_rpc_test_node:restart_app(element(1, pair(Config)), Settings),
    ok = gen_rpc_test_events:clear(Client),
    Client.

%% A node that was refused once, and the attempt after that is under way, to somebody who is silent.
refused_then_silent(Config) ->
    Port = gen_rpc_test_node:free_port(),
    {Client, _} = restart(Config, [way(?AWAY, Port), {connect_timeout, ?LONG},
                                   {authentication_timeout, ?LONG}], []),
    ?assertEqual(?NODEDOWN, echo(Client, ?AWAY)),
    Hole = gen_rpc_test_hole:silent(Port),
    wait(fun() -> phase(Client, ?AWAY) =:= connecting end),
    ok = gen_rpc_test_events:clear(Client),
    {Client, Hole}.

way(Node, Port) ->
    {client_config_per_node, {internal, #{Node => Port}}}.

echo(From, Dest) ->
    run(From, fun() -> echo_here(Dest) end).

echo_here(Dest) ->
    gen_rpc:call(Dest, erlang, node, [], ?LONG).

owner(Client, Dest) ->
    call(Client, gen_rpc_registry, client, [Dest]).

%%% Inside of a client: its record begins with destination, settings and phase, and ends with what it
%%% knows of a node that is away

state(Client, Dest) ->
    {ok, Pid} = owner(Client, Dest),
    call(Client, sys, get_state, [Pid]).

phase(Client, Dest) ->
    element(4, state(Client, Dest)).

absent(State) ->
    element(tuple_size(State), State).

change_absent(Client, Dest, Change) ->
    {ok, Pid} = owner(Client, Dest),
    _ = call(Client, sys, replace_state,
             [Pid, fun(State) -> setelement(tuple_size(State), State, Change(absent(State))) end]),
    ok.

%% Behind each attempt there is another pause.
attempts_fail(0, _Client, _Dest) ->
    ok;
attempts_fail(N, Client, Dest) ->
    Pause = pause(Client, Dest),
    wait(fun() -> not lists:member(pause(Client, Dest), [Pause, undefined]) end),
    attempts_fail(N - 1, Client, Dest).

pause(Client, Dest) ->
    maps:get(pause, absent(state(Client, Dest))).

pause_for_ever(Client, Dest) ->
    wait(fun() -> phase(Client, Dest) =:= pausing end),
    change_absent(Client, Dest, fun(Absent) -> Absent#{pause := make_ref()} end).

a_minute_passes(Client, Dest) ->
    change_absent(Client, Dest, fun(#{wanted := At} = Absent) -> Absent#{wanted := At - 60000} end).
