%% SPDX-License-Identifier: Apache-2.0
%% Calls and casts between two real nodes: what they return, whatever happens to the function, the
%% worker or the caller, and what they leave behind, which is nothing.
-module(gen_rpc_call_SUITE).

-behaviour(ct_suite).

-include_lib("proper/include/proper.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([suite/0, all/0, groups/0]).
-export([init_per_group/2, end_per_group/2, init_per_testcase/2, end_per_testcase/2]).
-export([endings_are_those_of_rpc/1, endings_on_the_own_node_are_those_of_rpc/1]).
-export([links_end_with_the_call/1]).
-export([every_kind_of_term_round_trips/1, random_terms_round_trip/1, pieces_of_a_term/1]).
-export([every_arity/1, bad_arguments/1, application_not_started/1]).
-export([worker_killed_from_outside/1, results_reach_their_callers/1]).
-export([timeout_leaves_nothing_behind/1, timeout_of_zero/1, many_timeouts_at_once/1]).
-export([full_mailbox_stays_as_it_is/1, full_mailbox_costs_nothing/1]).
-export([killed_caller_is_forgotten_with_the_reply/1, killed_caller_is_forgotten_in_time/1]).
-export([casts_run_once_each/1, casts_do_not_wait_for_each_other/1]).
-export([unreachable_node/1, failed_cast_is_one_line/1]).
-export([sizes_around_every_boundary/1, casts_around_the_boundary/1, large_messages/1]).
-export([large_binary_among_arguments/1, message_in_many_pieces/1]).
-export([limit_of_the_client/1, limit_of_the_server/1]).
-export([keys_have_connections_of_their_own/1, two_nodes_call_each_other/1]).
-export([output_stays_on_the_node_that_runs/1, distribution_is_not_used/1]).
-export([bytes/1, be_counted/0]).

-import(gen_rpc_test_node, [run/2, wait/1, connection/2]).

-define(TARGET, gen_rpc_test_target).
-define(DOWN, 'nobody@127.0.0.1').
-define(MB, (1024 * 1024)).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [{group, beside_rpc}, {group, pair}, limit_of_the_client, limit_of_the_server,
     two_nodes_call_each_other, application_not_started].

groups() ->
    [{beside_rpc, [],
      [endings_are_those_of_rpc, endings_on_the_own_node_are_those_of_rpc,
       links_end_with_the_call]},
     {pair, [],
      [every_kind_of_term_round_trips, random_terms_round_trip, pieces_of_a_term,
       every_arity, bad_arguments,
       worker_killed_from_outside, results_reach_their_callers,
       timeout_leaves_nothing_behind, timeout_of_zero, many_timeouts_at_once,
       full_mailbox_stays_as_it_is, full_mailbox_costs_nothing,
       killed_caller_is_forgotten_with_the_reply, killed_caller_is_forgotten_in_time,
       casts_run_once_each, casts_do_not_wait_for_each_other,
       unreachable_node, failed_cast_is_one_line,
       sizes_around_every_boundary, casts_around_the_boundary, large_messages,
       large_binary_among_arguments, message_in_many_pieces, keys_have_connections_of_their_own,
       output_stays_on_the_node_that_runs, distribution_is_not_used]}].

%% Nobody listens on a port number that was free a moment ago; on loopback that is known at once.
init_per_group(_Group, Config) ->
    #{node := Node, port := Port} = Server = gen_rpc_test_node:start([]),
    Ways = #{Node => {tcp, Port}, ?DOWN => {tcp, gen_rpc_test_node:free_port()}},
    Client = gen_rpc_test_node:start([{client_config_per_node, {internal, Ways}}]),
    ok = gen_rpc_test_events:install(Client),
    ok = gen_rpc_test_events:install(Server),
    [{client, gen_rpc_test_node:keep(Client)}, {server, gen_rpc_test_node:keep(Server)} | Config].

end_per_group(_Group, Config) ->
    ok = gen_rpc_test_node:stop(client(Config)),
    ok = gen_rpc_test_node:stop(server(Config)).

init_per_testcase(_Case, Config) ->
    lists:foreach(fun gen_rpc_test_events:clear/1, nodes_of(Config)),
    Config.

%% Whatever a test does to functions, workers and callers, no process of gen_rpc crashes of it.
end_per_testcase(_Case, Config) ->
    case lists:append([gen_rpc_test_pair:crashes(Node) || Node <- nodes_of(Config)]) of
        [] -> ok;
        Crashes -> {fail, Crashes}
    end.

nodes_of(Config) ->
    [Node || {Key, Node} <- Config, Key =:= client orelse Key =:= server].

%%% Results

%% Values, throws, exits, errors with their stacks, and every kind of death come back as OTP's rpc
%% gives them.
endings_are_those_of_rpc(Config) ->
    Node = server_node(Config),
    ?assertEqual([], run(client(Config),
                         fun() ->
                                 [{Name, Expected, Got}
                                  || {Name, {M, F, A}} <- ?TARGET:endings(),
                                     Expected <- [rpc:call(Node, M, F, A, 10000)],
                                     Got <- [gen_rpc:call(Node, M, F, A, 10000)],
                                     Got =/= Expected]
                         end)).

%% A node that calls itself gets the same results, and makes no connection for them.
endings_on_the_own_node_are_those_of_rpc(Config) ->
    ?assertEqual([], run(client(Config),
                         fun() ->
                                 [{Name, Dest, Expected, Got}
                                  || {Name, {M, F, A}} <- ?TARGET:endings(),
                                     Expected <- [rpc:call(node(), M, F, A, 10000)],
                                     Dest <- [node(), {node(), key}],
                                     Got <- [gen_rpc:call(Dest, M, F, A, 10000)],
                                     Got =/= Expected]
                         end)),
    ?assertEqual({badrpc, timeout},
                 run(client(Config),
                     fun() -> gen_rpc:call(node(), timer, sleep, [60000], 10) end)),
    ok = run(client(Config),
             fun() ->
                     ok = ?TARGET:start_counter(),
                     true = gen_rpc:cast({node(), key}, ?TARGET, count, [one]),
                     wait(fun() -> ?TARGET:counted() =:= [one] end)
             end),
    ?assertNot(is_map_key(node(), destinations(Config))),
    ?assertNot(lists:member(client_node(Config), run(client(Config), fun gen_rpc:nodes/0))).

%% What a function links itself to ends when the call does, as with rpc, because the worker does.
links_end_with_the_call(Config) ->
    Node = server_node(Config),
    run(client(Config),
        fun() ->
                [begin
                     Linked = Module:call(Node, ?TARGET, start_linked, []),
                     wait(fun() -> not rpc:call(Node, erlang, is_process_alive, [Linked]) end)
                 end || Module <- [rpc, gen_rpc]]
        end).

%% A term is the same after it was an argument and a result, whatever its type.
every_kind_of_term_round_trips(Config) ->
    Node = server_node(Config),
    ?assertEqual([], run(client(Config),
                         fun() ->
                                 [{Term, Got} || Term <- kinds_of_terms(Node),
                                                 Got <- [gen_rpc:call(Node, ?TARGET, echo, [Term])],
                                                 not identical(Term, Got)]
                         end)).

kinds_of_terms(Node) ->
    [0, -1, 1 bsl 27, 1 bsl 31, 1 bsl 59, 1 bsl 63, 1 bsl 64, -(1 bsl 64), 1 bsl 5000,
     0.0, -0.0, 1.5, 1.7976931348623157e308, 4.9e-324,
     '', a, true, 'Grüße', 'дом', '家', '😀', list_to_atom(lists:duplicate(255, 16#1F600)),
     [], "", "text", [1.0 | 2], [a, [b, [c | d]]], lists:seq(1, 1000), [16#1F600], nested(10000),
     {}, {a}, {{{}}}, list_to_tuple(lists:seq(1, 1000)),
     #{}, #{a => 1, 1 => a, 1.0 => b, #{} => #{}},
     maps:from_list([{I, {I}} || I <- lists:seq(1, 1000)]),
     <<>>, <<0>>, <<"heap">>, <<1:1>>, <<5:3>>, <<0:1023>>, binary:copy(<<"x">>, 65),
     binary:part(binary:copy(<<"0123456789">>, 100), 5, 700),
     self(), hd(processes()), gen_rpc:call(Node, erlang, self, []),
     make_ref(), erlang:monitor(process, self()), erlang:alias(), ets:new(table, []),
     atomics:new(1, []), gen_rpc:call(Node, erlang, make_ref, []),
     hd(erlang:ports()), hd(gen_rpc:call(Node, erlang, ports, [])),
     fun() -> Node end, fun(X) -> {X, Node} end, fun kinds_of_terms/1, fun lists:map/2,
     fun no_such_module:f/3].

nested(0) -> bottom;
nested(N) -> {[nested(N - 1)]}.

%% Also what the term order takes for the same: zeros with and without a sign.
identical(A, B) ->
    A =:= B andalso term_to_binary(A) =:= term_to_binary(B).

%% No term that PropEr can think of changes on its way there and back.
random_terms_round_trip(Config) ->
    Node = server_node(Config),
    ?assertEqual(true, run(client(Config),
                           fun() ->
                                   proper:quickcheck(prop_round_trip(Node),
                                                     [quiet, {numtests, 2000}, {max_size, 30}])
                                       orelse proper:counterexample()
                           end)).

prop_round_trip(Node) ->
    ?FORALL(Term, any_term(), identical(Term, gen_rpc:call(Node, ?TARGET, echo, [Term]))).

%% What is seen to be small is one piece; what is large is not copied.
pieces_of_a_term(_Config) ->
    Large = bytes(100000),
    Small = [1, -1.5, atom, self(), make_ref(), bytes(1024), [], {}],
    ?assertMatch([_], gen_rpc_term:encode({Small, seen}, Small)),
    [begin
         Pieces = gen_rpc_term:encode(Term, Parts),
         ?assert(lists:member(Large, Pieces)),
         ?assertEqual(Term, binary_to_term(iolist_to_binary(Pieces)))
     end || {Term, Parts} <- [{{Large}, [Large]},
                              {[Large], [[Large]]},
                              {{1, #{2 => Large}}, [1, #{2 => Large}]},
                              {Small ++ [Large], Small ++ [Large]},
                              {[x | Large], [x | Large]}]],
    [?assertEqual(Term, binary_to_term(iolist_to_binary(gen_rpc_term:encode(Term, [Term]))))
     || Term <- [1 bsl 100000, -1 bsl 64, <<1:9>>, lists:seq(1, 1000), fun lists:reverse/1]].

any_term() ->
    ?SIZED(Size, any_term(Size)).

any_term(Size) when Size < 2 ->
    oneof([integer(), largeint(), float(), atom(), bitstring(), binary(), list(char()), wide_atom(),
           ?LAZY(make_ref()), ?LAZY(self()), function0(integer())]);
any_term(Size) ->
    Inner = ?LAZY(resize(Size div 3, any_term(Size div 3))),
    frequency([{3, any_term(0)},
               {1, list(Inner)},
               {1, [Inner, Inner | Inner]},
               {1, loose_tuple(Inner)},
               {1, ?LET(Pairs, list({Inner, Inner}), maps:from_list(Pairs))}]).

wide_atom() ->
    ?LET(Characters, list(oneof([range(0, 16#D7FF), range(16#E000, 16#10FFFF)])),
         list_to_atom(lists:sublist(Characters, 255))).

%%% The functions themselves

%% Every arity does the same, with what is left out taken from the settings.
every_arity(Config) ->
    Node = server_node(Config),
    ok = run(server(Config), fun ?TARGET:start_counter/0),
    run(client(Config),
        fun() ->
                Node = gen_rpc:call(Node, erlang, node),
                Node = gen_rpc:call(Node, erlang, node, []),
                Node = gen_rpc:call(Node, erlang, node, [], 5000),
                Node = gen_rpc:call(Node, erlang, node, [], 5000, 5000),
                Node = gen_rpc:call(Node, erlang, node, [], infinity, infinity),
                true = gen_rpc:cast(Node, ?TARGET, count_one),
                true = gen_rpc:cast(Node, ?TARGET, count, [1]),
                true = gen_rpc:cast(Node, ?TARGET, count, [1], 5000),
                true = gen_rpc:cast(Node, ?TARGET, count, [1], infinity)
        end),
    wait(fun() -> run(server(Config), fun ?TARGET:counted/0) =:= [1, 1, 1, 1] end).

%% An argument of a wrong type raises badarg in the caller, and no connection is made for it.
bad_arguments(Config) ->
    Node = server_node(Config),
    Before = destinations(Config),
    run(client(Config),
        fun() ->
                [begin
                     ?assertError(badarg, gen_rpc:call(Dest, erlang, node, [])),
                     ?assertError(badarg, gen_rpc:cast(Dest, erlang, node, []))
                 end || Dest <- ["node", <<"node">>, 1, {}, {Node}, {Node, key, more},
                                 {"node", key}, [Node], self(), #{}]],
                [begin
                     ?assertError(badarg, gen_rpc:call(Dest, "erlang", node, [])),
                     ?assertError(badarg, gen_rpc:call(Dest, erlang, <<"node">>, [])),
                     ?assertError(badarg, gen_rpc:call(Dest, erlang, node, no_list)),
                     ?assertError(badarg, gen_rpc:call(Dest, erlang, node, {})),
                     ?assertError(badarg, gen_rpc:cast(Dest, "erlang", node, [])),
                     ?assertError(badarg, gen_rpc:cast(Dest, erlang, 1, [])),
                     ?assertError(badarg, gen_rpc:cast(Dest, erlang, node, no_list))
                 end || Dest <- [{Node, new_key}, node()]],
                [begin
                     ?assertError(badarg, gen_rpc:call(Dest, erlang, node, [], Time)),
                     ?assertError(badarg, gen_rpc:call(Dest, erlang, node, [], 1000, Time)),
                     ?assertError(badarg, gen_rpc:cast(Dest, erlang, node, [], Time))
                 end || Dest <- [{Node, new_key}, node()],
                        Time <- [-1, 1.0, soon, "1000", 16#100000000, 1 bsl 64]]
        end),
    ?assertEqual(Before, destinations(Config)).

%% Without the application a call says so, instead of waiting or looking like a network failure.
application_not_started(_Config) ->
    Node = gen_rpc_test_node:start([]),
    ok = gen_rpc_test_node:stop_app(Node),
    run(Node, fun() ->
                      ?assertError({not_started, gen_rpc}, gen_rpc:call(?DOWN, erlang, node, [])),
                      ?assertError({not_started, gen_rpc}, gen_rpc:cast(?DOWN, erlang, node, [])),
                      ?assertEqual([], gen_rpc:nodes())
              end),
    ok = gen_rpc_test_node:stop(Node).

%%% Waiting

%% The caller learns of it when somebody kills the process that runs its function.
worker_killed_from_outside(Config) ->
    Node = server_node(Config),
    Call = task_on(client(Config),
                   fun() -> gen_rpc:call(Node, ?TARGET, wait_at_gate, [?FUNCTION_NAME]) end),
    ok = wait_until_at_gate(Config, ?FUNCTION_NAME),
    true = run(server(Config), fun() -> exit(whereis(?FUNCTION_NAME), kill) end),
    ?assertEqual({badrpc, {'EXIT', killed}}, gen_rpc_test_task:result(Call)).

%% Of hundreds of concurrent callers each gets the result of its own call, however small, large,
%% early or late it is.
results_reach_their_callers(Config) ->
    Node = server_node(Config),
    Answers = run(client(Config),
                  fun() ->
                          Ask = fun(I) -> ask_and_compare(Node, I) end,
                          gen_rpc_test_task:results(gen_rpc_test_task:start(400, Ask))
                  end),
    ?assertEqual([right], lists:usort(Answers)).

ask_and_compare(Node, I) ->
    Size = case rand:uniform(2) of
               1 -> rand:uniform(100);
               2 -> rand:uniform(200000)
           end,
    Question = {I, make_ref(), binary:copy(<<I:32>>, Size div 4)},
    case gen_rpc:call(Node, ?TARGET, echo_after, [Question, rand:uniform(50)], 30000) of
        Question -> right;
        Other -> {wrong, Other}
    end.

%% A caller whose time is up gets a timeout. The server is told, so no reply is sent any more,
%% though the function runs to its end.
timeout_leaves_nothing_behind(Config) ->
    Node = server_node(Config),
    Dest = {Node, ?FUNCTION_NAME},
    Before = cancels_in(Config),
    run(client(Config),
        fun() ->
                Node = gen_rpc:call(Dest, erlang, node, []),
                {badrpc, timeout} = gen_rpc:call(Dest, ?TARGET, wait_at_gate, [?FUNCTION_NAME],
                                                 100),
                ?assertMatch(#{calls := 0, cancels_out := 1, late := 0},
                             gen_rpc_test_node:local_connection(Dest))
        end),
    wait(fun() -> cancels_in(Config) =:= Before + 1 end),
    Worker = run(server(Config), fun() -> whereis(?FUNCTION_NAME) end),
    ok = run(server(Config), fun() -> ?TARGET:open_gate(?FUNCTION_NAME) end),
    wait(fun() -> not run(server(Config), fun() -> is_process_alive(Worker) end) end),
    run(client(Config),
        fun() ->
                Node = gen_rpc:call(Dest, erlang, node, []),
                ?assertMatch(#{calls := 0, late := 0}, gen_rpc_test_node:local_connection(Dest)),
                ?assertEqual({messages, []}, process_info(self(), messages))
        end).

%% A time limit of zero is a timeout, not an error, with a connection and without one. Whether the
%% function runs is for chance to say.
timeout_of_zero(Config) ->
    Node = server_node(Config),
    run(client(Config),
        fun() ->
                Dest = {Node, ?FUNCTION_NAME},
                {badrpc, timeout} = gen_rpc:call(Dest, timer, sleep, [100], 0),
                Node = gen_rpc:call(Dest, erlang, node, []),
                {badrpc, timeout} = gen_rpc:call(Dest, timer, sleep, [100], 0),
                Node = gen_rpc:call(Dest, erlang, node, []),
                ?assertMatch(#{calls := 0, waiting := 0, cancels_out := 1},
                             gen_rpc_test_node:local_connection(Dest)),
                ?assertEqual({messages, []}, process_info(self(), messages))
        end).

%% Hundreds of calls whose time is up at about the moment when their replies come: each returns the
%% one or the other, and no mailbox keeps a message. The server is told of each that was given up:
%% it has not started it, or forgets it, or its reply was on its way already.
many_timeouts_at_once(Config) ->
    Node = server_node(Config),
    Before = given_up(Config),
    Timeouts = run(client(Config), fun() -> time_out_at_once({Node, ?FUNCTION_NAME}, 500) end),
    wait(fun() ->
                 Late = maps:get(late, connection(client(Config), {Node, ?FUNCTION_NAME})),
                 given_up(Config) - Before + Late =:= Timeouts
         end).

time_out_at_once({Node, _} = Dest, Count) ->
    Node = gen_rpc:call(Dest, erlang, node, []),
    Self = self(),
    Callers = [spawn_link(fun() -> call_and_report(Dest, Self) end) || _ <- lists:seq(1, Count)],
    Results = [receive {Caller, Result} -> Result end || Caller <- Callers],
    Timeouts = length([timeout || {badrpc, timeout} <- Results]),
    ?assertEqual(Count - Timeouts, length([done || done <- Results])),
    ?assertMatch(#{calls := 0, waiting := 0, cancels_out := Timeouts},
                 gen_rpc_test_node:local_connection(Dest)),
    %% What came too late would be in a mailbox by now.
    Node = gen_rpc:call(Dest, erlang, node, []),
    ?assertEqual([{messages, []}],
                 lists:usort([process_info(Caller, messages) || Caller <- Callers])),
    [begin unlink(Caller), exit(Caller, kill) end || Caller <- Callers],
    Timeouts.

call_and_report(Dest, To) ->
    Delay = rand:uniform(50),
    To ! {self(), gen_rpc:call(Dest, ?TARGET, echo_after, [done, Delay], 25 + rand:uniform(50))},
    receive after infinity -> ok end.

%% A caller with 100,000 messages waiting gets its result, and the messages stay as they were.
full_mailbox_stays_as_it_is(Config) ->
    Node = server_node(Config),
    run(client(Config),
        fun() ->
                fill_mailbox(100000),
                ?assertEqual(value, gen_rpc:call(Node, ?TARGET, echo, [value])),
                ?assertEqual({badrpc, timeout}, gen_rpc:call(Node, timer, sleep, [60000], 10)),
                {messages, Messages} = process_info(self(), messages),
                ?assert(Messages =:= lists:seq(1, 100000))
        end).

%% The receive of a call does not look at what was in the mailbox before: a full one costs no more
%% reductions than an empty one. (Skipping a message costs one, so looking would cost 100,000.)
full_mailbox_costs_nothing(Config) ->
    Node = server_node(Config),
    run(client(Config),
        fun() ->
                Empty = reductions_of_a_call(Node),
                fill_mailbox(100000),
                Full = reductions_of_a_call(Node),
                ?assert(Full < Empty + 10000)
        end).

%% The least of many, because a garbage collection is no fault of the call that it happens in.
reductions_of_a_call(Node) ->
    lists:min([begin
                   Before = reductions(),
                   value = gen_rpc:call(Node, ?TARGET, echo, [value]),
                   reductions() - Before
               end || _ <- lists:seq(1, 30)]).

reductions() ->
    {reductions, N} = process_info(self(), reductions),
    N.

fill_mailbox(Count) ->
    lists:foreach(fun(I) -> self() ! I end, lists:seq(1, Count)).

%% A caller that is killed while it waits leaves its call behind only until the reply comes, if that
%% comes soon. The connection goes on.
killed_caller_is_forgotten_with_the_reply(Config) ->
    Node = server_node(Config),
    Dest = {Node, ?FUNCTION_NAME},
    kill_waiting_caller(Config, Dest, ?FUNCTION_NAME),
    Port = run(client(Config), fun() -> gen_rpc_registry:lookup(Dest) end),
    ok = run(server(Config), fun() -> ?TARGET:open_gate(?FUNCTION_NAME) end),
    wait(fun() -> maps:get(calls, connection(client(Config), Dest)) =:= 0 end),
    ?assertEqual(Node, run(client(Config), fun() -> gen_rpc:call(Dest, erlang, node, []) end)),
    ?assertEqual(Port, run(client(Config), fun() -> gen_rpc_registry:lookup(Dest) end)).

%% The same when no reply comes, whatever time the caller had: the driver notices that he is dead,
%% forgets the call and tells the server. A caller beside him that lives waits on.
killed_caller_is_forgotten_in_time(Config) ->
    Node = server_node(Config),
    Dest = {Node, ?FUNCTION_NAME},
    Gate = killed_caller_beside,
    Before = cancels_in(Config),
    Living = task_on(client(Config),
                     fun() -> gen_rpc:call(Dest, ?TARGET, wait_at_gate, [Gate]) end),
    ok = wait_until_at_gate(Config, Gate),
    kill_waiting_caller(Config, Dest, ?FUNCTION_NAME),
    wait(fun() -> maps:get(cancels_out, connection(client(Config), Dest)) =:= 1 end),
    ?assertMatch(#{state := open, calls := 1, late := 0}, connection(client(Config), Dest)),
    wait(fun() -> cancels_in(Config) =:= Before + 1 end),
    [ok, ok] = [run(server(Config), fun() -> ?TARGET:open_gate(Name) end)
                || Name <- [?FUNCTION_NAME, Gate]],
    ?assertEqual({through, Gate}, gen_rpc_test_task:result(Living)),
    ?assertEqual(Node, run(client(Config), fun() -> gen_rpc:call(Dest, erlang, node, []) end)),
    ?assertMatch(#{calls := 0, late := 0}, connection(client(Config), Dest)).

kill_waiting_caller(Config, Dest, Gate) ->
    Wait = fun() -> gen_rpc:call(Dest, ?TARGET, wait_at_gate, [Gate], infinity) end,
    Caller = run(client(Config), fun() -> spawn(Wait) end),
    ok = wait_until_at_gate(Config, Gate),
    true = run(client(Config), fun() -> exit(Caller, kill) end).

%%% Casts

%% Each of 10,000 casts runs, and none of them twice.
casts_run_once_each(Config) ->
    Node = server_node(Config),
    ok = run(server(Config), fun ?TARGET:start_counter/0),
    run(client(Config),
        fun() ->
                Tasks = gen_rpc_test_task:start(10, fun(I) -> cast_thousand(Node, I) end),
                gen_rpc_test_task:results(Tasks)
        end),
    run(server(Config),
        fun() ->
                wait(fun() -> length(?TARGET:counted()) >= 10000 end),
                ?assert(lists:sort(?TARGET:counted()) =:= lists:seq(1, 10000))
        end).

cast_thousand(Node, I) ->
    [true = gen_rpc:cast(Node, ?TARGET, count, [N])
     || N <- lists:seq((I - 1) * 1000 + 1, I * 1000)].

%% Each has a process of its own, in whatever numbers they come, that answers to nobody.
casts_do_not_wait_for_each_other(Config) ->
    Node = server_node(Config),
    Count = 3000,
    ok = run(server(Config), fun ?TARGET:start_counter/0),
    run(client(Config),
        fun() -> [true = gen_rpc:cast(Node, ?MODULE, be_counted, []) || _ <- lists:seq(1, Count)] end),
    run(server(Config),
        fun() ->
                wait(fun() -> length(?TARGET:counted()) =:= Count end),
                Workers = ?TARGET:counted(),
                ?assertEqual(Count, length(lists:usort(Workers))),
                ?assertEqual([{links, []}],
                             lists:usort([process_info(Worker, links) || Worker <- Workers])),
                [exit(Worker, kill) || Worker <- Workers]
        end).

%% Counts itself and stays.
be_counted() ->
    ok = ?TARGET:count(self()),
    receive after infinity -> ok end.

%% To a node that nobody runs a cast is true and one line in the log; a call says that nothing was
%% sent.
unreachable_node(Config) ->
    Client = client(Config),
    ?assertEqual({badrpc, nodedown},
                 run(Client, fun() -> gen_rpc:call(?DOWN, erlang, node, []) end)),
    ?assertEqual(true, run(Client, fun() -> gen_rpc:cast(?DOWN, erlang, node, []) end)),
    ?assertMatch([#{what := "cannot connect", node := ?DOWN, reason := econnrefused},
                  #{what := "cast dropped", node := ?DOWN, reason := nodedown}],
                 [Report || #{report := Report} <- gen_rpc_test_events:ours(Client)]),
    ?assertNot(lists:member(?DOWN, run(Client, fun gen_rpc:nodes/0))).

%% A cast that fails is one line in the log of the node that ran it, with its kind and without its
%% arguments, and no report of a crash.
failed_cast_is_one_line(Config) ->
    Node = server_node(Config),
    Server = server(Config),
    ok = run(Server, fun ?TARGET:start_counter/0),
    run(client(Config),
        fun() ->
                true = gen_rpc:cast(Node, ?TARGET, only_zero, ["secret"]),
                true = gen_rpc:cast(Node, ?TARGET, match, ["secret"]),
                true = gen_rpc:cast(Node, erlang, exit, [{quit, "secret"}]),
                true = gen_rpc:cast(Node, erlang, error, [["secret"]]),
                true = gen_rpc:cast(Node, ?TARGET, echo, ["secret" | improper]),
                %% These have nothing to report.
                true = gen_rpc:cast(Node, erlang, throw, ["secret"]),
                true = gen_rpc:cast(Node, erlang, exit, [normal]),
                true = gen_rpc:cast(Node, ?TARGET, end_self, [kill])
        end),
    wait(fun() -> length(gen_rpc_test_events:ours(Server)) >= 5 end),
    ?assertEqual([{{erlang, error, 1}, error, other},
                  {{erlang, exit, 1}, exit, other},
                  {{?TARGET, echo, improper}, error, badarg},
                  {{?TARGET, match, 1}, error, badmatch},
                  {{?TARGET, only_zero, 1}, error, function_clause}],
                 lists:sort([{Function, Class, Reason}
                             || #{report := #{what := "cast failed", function := Function,
                                              class := Class, reason := Reason}}
                                    <- gen_rpc_test_events:ours(Server)])),
    ?assertEqual([], gen_rpc_test_events:others(Server)),
    ?assertEqual(nomatch, string:find(gen_rpc_test_events:text(Server), "secret")).

%%% Sizes

%% A message is the same whether it is copied, referred to, read in one piece or in many: sizes on
%% both sides of every boundary that the code has.
sizes_around_every_boundary(Config) ->
    Node = server_node(Config),
    Wrong = run(client(Config),
                fun() ->
                        [Size || Boundary <- [128, 4096, 16384, 65536, 524288],
                                 Size <- around(Boundary),
                                 Bytes <- [bytes(Size)],
                                 gen_rpc:call(Node, ?TARGET, echo, [Bytes]) =/= Bytes]
                end),
    ?assertEqual([], Wrong).

%% The same for casts, at the boundary between copies and references.
casts_around_the_boundary(Config) ->
    Node = server_node(Config),
    ok = run(server(Config), fun ?TARGET:start_counter/0),
    run(client(Config),
        fun() ->
                [true = gen_rpc:cast(Node, ?TARGET, count, [bytes(Size)]) || Size <- around(16384)]
        end),
    run(server(Config),
        fun() ->
                Expected = [bytes(Size) || Size <- around(16384)],
                wait(fun() -> length(?TARGET:counted()) >= length(Expected) end),
                ?assert(lists:sort(?TARGET:counted()) =:= lists:sort(Expected))
        end).

%% What is around an argument or a result, names and headers, takes less than 120 bytes.
around(Boundary) ->
    lists:seq(Boundary - 120, Boundary + 5).

bytes(Size) ->
    <<Bytes:Size/binary, _/binary>> = binary:copy(<<Size:32>>, Size div 4 + 1),
    Bytes.

%% 1, 20 and 50 MB as argument and as result.
large_messages(Config) ->
    Node = server_node(Config),
    run(client(Config),
        fun() ->
                [begin
                     Bytes = bytes(Size * ?MB),
                     ?assert(gen_rpc:call(Node, ?TARGET, echo, [Bytes], 30000) =:= Bytes)
                 end || Size <- [1, 20, 50]]
        end).

%% A large binary is the same in whatever place among the arguments, alone or with others.
large_binary_among_arguments(Config) ->
    Node = server_node(Config),
    Large = bytes(?MB),
    Part = binary:part(bytes(2 * ?MB), 77, ?MB),
    run(client(Config),
        fun() ->
                [?assert(gen_rpc:call(Node, ?TARGET, arguments, Args) =:= list_to_tuple(Args))
                 || Args <- [[Large], [Large, a], [a, Large], [a, Large, b], [Large, Large],
                             [bytes(300000), Large], [Large, bytes(300000)], [[Large]],
                             [{a, Large}, b], [Large, <<5:3>>], [<<Large/binary, 1:1>>, b],
                             [Part], [a, Part, "b"], [a, Large, fun lists:map/2]]],
                ?assertMatch({badrpc, {'EXIT', {badarg, _}}},
                             gen_rpc:call(Node, ?TARGET, arguments, [Large | improper])),
                ?assertMatch({badrpc, {'EXIT', {badarg, _}}},
                             gen_rpc:call(Node, ?TARGET, arguments, [a, Large | improper]))
        end).

%% A term of hundreds of binaries, which the encoder leaves as so many pieces.
message_in_many_pieces(Config) ->
    Node = server_node(Config),
    run(client(Config),
        fun() ->
                [begin
                     Pieces = [bytes(Size + I) || I <- lists:seq(1, Count)],
                     ?assert(gen_rpc:call(Node, ?TARGET, echo, [Pieces]) =:= Pieces)
                 end || Count <- [60, 62, 63, 64, 65, 66, 500], Size <- [100, 1000, 5000, 20000]]
        end).

%% The client's limit holds for what it sends and for what it is sent. Who is over it is told, and
%% the connection goes on.
limit_of_the_client(_Config) ->
    messages_over_the_limit([{max_message_size, 10000}], []).

%% The server's limit does the same.
limit_of_the_server(_Config) ->
    messages_over_the_limit([], [{max_message_size, 10000}]).

messages_over_the_limit(ClientSettings, ServerSettings) ->
    Limit = 10000,
    {Client, Server} = gen_rpc_test_node:start_pair(ClientSettings, ServerSettings),
    #{node := Node} = Server,
    ok = gen_rpc_test_events:install(Client),
    ok = run(Server, fun ?TARGET:start_counter/0),
    run(Client,
        fun() ->
                Node = gen_rpc:call(Node, erlang, node, []),
                {ok, Port} = gen_rpc_registry:lookup(Node),
                %% On both sides of the size from which on a message is not copied.
                [begin
                     Bytes = bytes(Size),
                     RequestSize = iolist_size(gen_rpc_codec:encode(?TARGET, echo, [Bytes])),
                     ?assertEqual({badrpc, {message_too_big, RequestSize, Limit}},
                                  gen_rpc:call(Node, ?TARGET, echo, [Bytes])),
                     {badrpc, {message_too_big, ReplySize, Limit}} =
                         gen_rpc:call(Node, ?MODULE, bytes, [Size]),
                     ?assert(ReplySize > Size andalso ReplySize < Size + 120),
                     ?assertEqual(true, gen_rpc:cast(Node, ?TARGET, count, [Bytes])),
                     ?assertEqual({ok, Port}, gen_rpc_registry:lookup(Node))
                 end || Size <- [10000, 11000, 16384, 100000, 5 * ?MB]],
                %% The largest that may pass does.
                Rest = iolist_size(gen_rpc_codec:encode(?TARGET, echo, [<<>>])),
                Largest = bytes(Limit - Rest),
                ?assertEqual(Largest, gen_rpc:call(Node, ?TARGET, echo, [Largest])),
                true = gen_rpc:cast(Node, ?TARGET, count, [done]),
                ?assertEqual({ok, Port}, gen_rpc_registry:lookup(Node))
        end),
    wait(fun() -> run(Server, fun ?TARGET:counted/0) =:= [done] end),
    ?assertMatch([{"cast dropped", {message_too_big, Size, Limit}} | _] when Size > 10000,
                 [{What, Reason} || #{report := #{what := What, reason := Reason}}
                                        <- gen_rpc_test_events:ours(Client)]),
    ?assertEqual(5, length(gen_rpc_test_events:ours(Client))),
    ok = gen_rpc_test_node:stop(Client),
    ok = gen_rpc_test_node:stop(Server).

%%% Connections

%% Any term can be a key. Each key has a connection of its own, and the node is listed once.
keys_have_connections_of_their_own(Config) ->
    Node = server_node(Config),
    run(client(Config),
        fun() ->
                Keys = [1, 1.0, -0.5, "key", <<"key">>, key, '_', '$1', [], {}, {Node, key}, Node,
                        #{}, #{a => 1}, [a | b], self(), make_ref(), fun lists:map/2,
                        bytes(100000)],
                Dests = [Node | [{Node, Key} || Key <- Keys]],
                Ports = [begin
                             Node = gen_rpc:call(Dest, erlang, node, []),
                             {ok, Port} = gen_rpc_registry:lookup(Dest),
                             Port
                         end || Dest <- Dests],
                ?assertEqual(length(Dests), length(lists:usort(Ports))),
                ?assertEqual(Ports, [begin
                                         Node = gen_rpc:call(Dest, erlang, node, []),
                                         {ok, Port} = gen_rpc_registry:lookup(Dest),
                                         Port
                                     end || Dest <- Dests]),
                ?assertEqual([Node], gen_rpc:nodes())
        end).

%% Two nodes that call each other at the same time use two connections, one each way.
two_nodes_call_each_other(_Config) ->
    #{port := Port} = A0 = gen_rpc_test_node:start([]),
    B = gen_rpc_test_node:start([gen_rpc_test_node:env([A0])]),
    A = gen_rpc_test_node:restart_app(A0, [{tcp_server_port, Port}, gen_rpc_test_node:env([B])]),
    Tasks = [task_on(From, fun() -> call_by_many(Node) end)
             || {From, #{node := Node}} <- [{A, B}, {B, A}]],
    ?assertEqual([[right], [right]], gen_rpc_test_task:results(Tasks)),
    [begin
         ?assertEqual([Other], run(This, fun gen_rpc:nodes/0)),
         ?assertMatch([{Other, _}], run(This, fun gen_rpc_registry:clients/0)),
         ?assertMatch([_], gen_rpc_test_node:acceptors(This))
     end || {This, #{node := Other}} <- [{A, B}, {B, A}]],
    ok = gen_rpc_test_node:stop(A),
    ok = gen_rpc_test_node:stop(B).

call_by_many(Node) ->
    Tasks = gen_rpc_test_task:start(200, fun(I) -> ask_and_compare(Node, I) end),
    lists:usort(gen_rpc_test_task:results(Tasks)).

%%% Beside the call

%% A worker's group leader is the one of its own node: what it prints does not come to the caller,
%% as it would with rpc, which needs the distribution for that.
output_stays_on_the_node_that_runs(Config) ->
    Node = server_node(Config),
    run(client(Config),
        fun() ->
                true = group_leader(self(), self()),
                {Leader, User} = gen_rpc:call(Node, ?TARGET, group_leaders, []),
                ?assertEqual(User, Leader),
                ?assertEqual(ok, gen_rpc:call(Node, ?TARGET, print, ["printed by a worker"])),
                ?assertEqual({messages, []}, process_info(self(), messages))
        end).

%% No call or cast ever makes the nodes know each other by distribution.
distribution_is_not_used(Config) ->
    Node = server_node(Config),
    Self = run(client(Config),
               fun() ->
                       true = gen_rpc:cast(Node, ?TARGET, echo, [self()]),
                       gen_rpc:call(Node, ?TARGET, echo, [self()])
               end),
    ?assert(is_pid(Self)),
    [?assertEqual([], run(T, fun() -> erlang:nodes([connected, hidden]) end))
     || T <- [client(Config), server(Config)]].

%%% Helpers

client(Config) -> proplists:get_value(client, Config).

server(Config) -> proplists:get_value(server, Config).

client_node(Config) -> maps:get(node, client(Config)).

server_node(Config) -> maps:get(node, server(Config)).

%% What the client has or makes connections to.
destinations(Config) ->
    maps:from_list(run(client(Config), fun gen_rpc_registry:clients/0)).

task_on(Node, Fun) ->
    gen_rpc_test_task:start(fun() -> run(Node, Fun) end).

wait_until_at_gate(Config, Gate) ->
    wait(fun() -> run(server(Config), fun() -> ?TARGET:at_gate(Gate) end) end).

%% Calls whose callers gave up, as the server has heard.
cancels_in(Config) ->
    sum(Config, [cancels_in]).

%% The same, with those that it found too late to start.
given_up(Config) ->
    sum(Config, [cancels_in, too_late]).

sum(Config, Keys) ->
    lists:sum([maps:get(Key, Info) || Info <- gen_rpc_test_node:acceptors(server(Config)),
                                      Key <- Keys]).
