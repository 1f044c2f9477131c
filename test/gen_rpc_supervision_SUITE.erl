%% SPDX-License-Identifier: Apache-2.0
%% Processes of the application that are killed, spoken to by strangers, stopped and started again:
%% every caller gets an answer, everything recovers, nothing leaks.
-module(gen_rpc_supervision_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, groups/0, init_per_suite/1, end_per_suite/1,
         init_per_testcase/2, end_per_testcase/2]).
-export([client_killed/1, acceptor_killed/1, listener_killed/1, dispatcher_killed/1,
         driver_killed/1, client_supervisor_killed/1, acceptor_supervisor_killed/1,
         client_killed_while_connecting/1, callers_never_crash/1,
         stray_messages/1, stray_messages_to_supervisors/1,
         client_stops/1, server_stops/1, start_and_stop_often/1]).
-export([processes_of_ours/0]).

-import(gen_rpc_test_node, [call/4, run/2, wait/1]).

%% Longer than any test: a wait with this limit ends for another reason, or not at all.
-define(LONG, 60000).

-define(GATES, [gate1, gate2, gate3, gate4, gate5, gate6, gate7, gate8, gate9, gate10]).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [{group, killed}, {group, stray}, {group, stopped}].

groups() ->
    [{killed, [], [client_killed, acceptor_killed, listener_killed, dispatcher_killed,
                   driver_killed, client_supervisor_killed, acceptor_supervisor_killed,
                   client_killed_while_connecting, callers_never_crash]},
     {stray, [], [stray_messages, stray_messages_to_supervisors]},
     {stopped, [], [client_stops, server_stops, start_and_stop_often]}].

init_per_suite(Config) ->
    [{pair, gen_rpc_test_pair:start()} | Config].

end_per_suite(Config) ->
    gen_rpc_test_pair:stop(proplists:get_value(pair, Config)).

init_per_testcase(_Case, Config) ->
    Config.

%% What is killed leaves reports; everywhere else there must be none.
end_per_testcase(Case, Config) ->
    {Client, Server} = Pair = proplists:get_value(pair, Config),
    Killed = proplists:get_value(killed, groups_of_cases()),
    _ = [ok = gen_rpc_test_events:clear(Node) || Node <- [Client, Server],
                                                 lists:member(Case, Killed)],
    gen_rpc_test_pair:finish(Pair).

groups_of_cases() ->
    [{Group, Cases} || {Group, _, Cases} <- groups()].

%% The server has a port of its own choice, so that it can be found again when it restarts.
restart(Config, ClientSettings) ->
    gen_rpc_test_pair:restart(proplists:get_value(pair, Config), ClientSettings,
                              [{tcp_server_port, gen_rpc_test_node:free_port()}]).

%%% Killed: calls of lost connections return {badtcp, _}, the others go on

%% The owner of an outgoing connection takes its calls with it.
client_killed(Config) ->
    killed(Config, fun(Client, _Server, Node) ->
                           run(Client, fun() ->
                                               {ok, Owner} = gen_rpc_registry:client(Node),
                                               exit(Owner, kill)
                                       end)
                   end, lost).

%% So does the owner of an incoming one.
acceptor_killed(Config) ->
    killed(Config, fun(_Client, Server, _Node) ->
                           run(Server, fun() ->
                                               [{_, Acceptor, _, _}] =
                                                   supervisor:which_children(gen_rpc_acceptor_sup),
                                               exit(Acceptor, kill)
                                       end)
                   end, lost).

%% The listener has nothing to do with connections that are up. Its successor gets the same address,
%% also if it is there before the old socket is closed.
listener_killed(Config) ->
    killed(Config, fun(_Client, Server, _Node) ->
                           [ok = kill_name(Server, gen_rpc_listener) || _ <- [1, 2, 3, 4]]
                   end, kept).

%% The dispatcher neither; its successor knows the clients from the registry.
dispatcher_killed(Config) ->
    killed(Config, fun(Client, _Server, _Node) -> kill_name(Client, gen_rpc_dispatcher) end, kept).

%% Without the driver's loader there is no driver: everything starts anew.
driver_killed(Config) ->
    killed(Config, fun(Client, _Server, _Node) -> kill_name(Client, gen_rpc_driver) end, lost).

client_supervisor_killed(Config) ->
    killed(Config, fun(Client, _Server, _Node) -> kill_name(Client, gen_rpc_client_sup) end, lost).

acceptor_supervisor_killed(Config) ->
    killed(Config, fun(_Client, Server, _Node) -> kill_name(Server, gen_rpc_acceptor_sup) end,
           lost).

%% Until its successor is there, and has begun to work.
kill_name(Node, Name) ->
    Old = call(Node, erlang, whereis, [Name]),
    true = call(Node, erlang, exit, [Old, kill]),
    wait(fun() -> not lists:member(call(Node, erlang, whereis, [Name]), [Old, undefined]) end),
    _ = call(Node, sys, get_state, [Name]),
    ok.

killed(Config, Kill, Expected) ->
    {Client, #{node := Node} = Server} = restart(Config, [{client_inactivity_timeout, ?LONG}]),
    Node = echo(Client, Node),
    Before = resources(Client, Server),
    Waiting = waiting_calls(Client, Server, Node),
    _ = Kill(Client, Server, Node),
    case Expected of
        lost ->
            [?assertMatch({{badtcp, _}, []}, Result)
             || Result <- gen_rpc_test_task:results(Waiting)],
            open_gates(Server);
        kept ->
            ?assertEqual(Node, echo(Client, {Node, other})),
            open_gates(Server),
            ?assertEqual([{{through, Gate}, []} || Gate <- ?GATES],
                         gen_rpc_test_task:results(Waiting))
    end,
    wait(fun() -> echo(Client, Node) =:= Node end),
    ok = close(Client, {Node, other}),
    wait(fun() -> resources(Client, Server) =:= Before end).

resources(Client, Server) ->
    {gen_rpc_test_node:resources(Client), gen_rpc_test_node:resources(Server)}.

%% One call at each gate of the server. Each returns its result and what is in its caller's mailbox.
waiting_calls(Client, Server, Node) ->
    Tasks = [gen_rpc_test_task:start(
               fun() ->
                       run(Client, fun() ->
                                           Result = gen_rpc:call(Node, gen_rpc_test_target,
                                                                 wait_at_gate, [Gate], ?LONG),
                                           {Result, element(2, process_info(self(), messages))}
                                   end)
               end) || Gate <- ?GATES],
    wait(fun() -> lists:all(fun(Gate) -> call(Server, gen_rpc_test_target, at_gate, [Gate]) end,
                            ?GATES)
         end),
    Tasks.

open_gates(Server) ->
    [ok = call(Server, gen_rpc_test_target, open_gate, [Gate]) || Gate <- ?GATES].

close(Client, Dest) ->
    run(Client, fun() ->
                        case gen_rpc_registry:client(Dest) of
                            {ok, Owner} -> supervisor:terminate_child(gen_rpc_client_sup, Owner);
                            none -> ok
                        end
                end).

%% A client that dies before it is connected: its callers make another attempt, and none hangs.
client_killed_while_connecting(Config) ->
    {Silent, Port} = gen_rpc_test_hole:silent(),
    Hole = 'hole@127.0.0.1',
    {Client, _} = restart(Config, [{client_config_per_node, {internal, #{Hole => Port}}},
                                   {authentication_timeout, 500}]),
    Waiting = gen_rpc_test_task:start(10, fun(_) -> echo(Client, Hole) end),
    Owner = fun() -> call(Client, gen_rpc_registry, client, [Hole]) end,
    wait(fun() -> Owner() =/= none end),
    {ok, First} = Owner(),
    true = call(Client, erlang, exit, [First, kill]),
    ?assertEqual(lists:duplicate(10, {badrpc, nodedown}), gen_rpc_test_task:results(Waiting)),
    %% The one after it goes on trying.
    {ok, Second} = Owner(),
    ?assertNotEqual(First, Second),
    ok = gen_rpc_test_hole:close(Silent).

%% While things are killed around them callers get what call/4 promises, and never an exception.
callers_never_crash(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, []),
    Callers = gen_rpc_test_task:start(
                4, fun(Key) -> run(Client, fun() -> call_until_stopped({Node, Key}) end) end),
    wait(fun() -> length(gen_rpc_test_node:acceptors(Server)) =:= 4 end),
    [begin
         ok = kill_name(Victim, Name),
         wait(fun() -> length(gen_rpc_test_node:acceptors(Server)) =:= 4 end)
     end || {Victim, Name} <- [{Client, gen_rpc_dispatcher}, {Client, gen_rpc_driver},
                               {Client, gen_rpc_client_sup}, {Server, gen_rpc_driver},
                               {Server, gen_rpc_listener}]],
    true = run(Client, fun() -> register(stop_calling, spawn(timer, sleep, [infinity])) end),
    [?assertEqual([], [Other || Other <- Results, not is_promised(Other, Node)])
     || Results <- gen_rpc_test_task:results(Callers)],
    ?assertEqual(Node, echo(Client, Node)),
    true = run(Client, fun() -> exit(whereis(stop_calling), kill) end).

%% The different results that there were. A test that fails stops the application.
call_until_stopped(Dest) ->
    call_until_stopped(Dest, []).

call_until_stopped(Dest, Results) ->
    Result = try
                 gen_rpc:call(Dest, erlang, node, [], ?LONG)
             catch
                 Class:Reason -> {Class, Reason}
             end,
    case {whereis(stop_calling), Result} of
        {undefined, Result} when Result =/= {error, {not_started, gen_rpc}} ->
            call_until_stopped(Dest, lists:usort([Result | Results]));
        _ ->
            lists:usort([Result | Results])
    end.

is_promised({badrpc, nodedown}, _Node) -> true;
is_promised({badtcp, _}, _Node) -> true;
is_promised(Result, Node) -> Result =:= Node.

%%% Stray

%% A message, a cast, a call and an exit signal that no process of ours understands: each is one
%% line in the log and nothing more.
stray_messages(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, []),
    Node = echo(Client, Node),
    Pids = fun() -> {call(Client, ?MODULE, processes_of_ours, []),
                     call(Server, ?MODULE, processes_of_ours, [])} end,
    {OnClient, OnServer} = Before = Pids(),
    ?assertMatch({[_, _, _, _], [_, _, _, _]}, Before),
    [begin
         ok = gen_rpc_test_events:clear(On),
         ?assertEqual({error, unknown_call}, run(On, fun() -> disturb(Pid) end)),
         ?assertEqual(["unexpected call ignored", "unexpected cast ignored",
                       "unexpected message ignored", "unexpected message ignored"],
                      lists:sort([What || #{report := #{what := What}}
                                              <- gen_rpc_test_events:ours(On)]))
     end || {On, Known} <- [{Client, OnClient}, {Server, OnServer}], Pid <- Known],
    ?assertEqual(Before, Pids()),
    ?assertEqual(Node, echo(Client, Node)),
    ?assertEqual(Node, echo(Client, {Node, new})).

%% All but the supervisors.
processes_of_ours() ->
    Children = [Pid || Supervisor <- [gen_rpc_client_sup, gen_rpc_acceptor_sup],
                       {_, Pid, _, _} <- supervisor:which_children(Supervisor)],
    [whereis(Name) || Name <- [gen_rpc_driver, gen_rpc_listener, gen_rpc_dispatcher]] ++ Children.

%% The call comes last, so that its answer says that all is dealt with.
disturb(Pid) ->
    Pid ! {stray, message},
    ok = gen_server:cast(Pid, stray),
    true = exit(Pid, stray),
    gen_server:call(Pid, stray).

%% Supervisors are OTP's: a message or an exit signal does them no harm either.
stray_messages_to_supervisors(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, []),
    Node = echo(Client, Node),
    Names = [gen_rpc_sup, gen_rpc_client_sup, gen_rpc_acceptor_sup],
    Pids = fun() -> [call(On, erlang, whereis, [Name])
                     || On <- [Client, Server], Name <- Names] end,
    Before = Pids(),
    [run(On, fun() ->
                     Name ! {stray, message},
                     exit(whereis(Name), stray),
                     supervisor:which_children(Name)
             end) || On <- [Client, Server], Name <- Names],
    ?assertEqual(Before, Pids()),
    ?assertEqual(Node, echo(Client, Node)),
    %% That OTP logs such a message as an error is its own affair.
    [ok = gen_rpc_test_events:clear(On) || On <- [Client, Server]].

%%% Stopped and started

%% When the application stops on the calling node, its callers hear that their calls are lost, and
%% it can be started again.
client_stops(Config) ->
    stops(Config, fun(Client, _Server) -> Client end).

%% The same when it stops on the other node.
server_stops(Config) ->
    stops(Config, fun(_Client, Server) -> Server end).

stops(Config, Which) ->
    {Client, #{node := Node} = Server} = restart(Config, []),
    Node = echo(Client, Node),
    Before = resources(Client, Server),
    Waiting = waiting_calls(Client, Server, Node),
    ok = gen_rpc_test_node:stop_app(Which(Client, Server)),
    [?assertMatch({{badtcp, _}, []}, Result) || Result <- gen_rpc_test_task:results(Waiting)],
    open_gates(Server),
    wait(fun() -> gen_rpc_test_node:leftovers(Which(Client, Server)) =:= [] end),
    ok = call(Which(Client, Server), application, start, [gen_rpc]),
    ?assertEqual(Node, echo(Client, Node)),
    wait(fun() -> resources(Client, Server) =:= Before end).

%% Ten times, with an open connection each time: ports, descriptors and processes are as before.
start_and_stop_often(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, []),
    Node = echo(Client, Node),
    Before = resources(Client, Server),
    [begin
         [ok = gen_rpc_test_node:stop_app(On) || On <- Order],
         [ok = call(On, application, start, [gen_rpc]) || On <- Order],
         ?assertEqual(Node, echo(Client, Node))
     end || _ <- lists:seq(1, 5), Order <- [[Client, Server], [Server, Client]]],
    wait(fun() -> resources(Client, Server) =:= Before end).

%%% Helpers

%% What the node that is reached calls itself.
echo(From, Dest) ->
    call(From, gen_rpc, call, [Dest, erlang, node, [], ?LONG]).
