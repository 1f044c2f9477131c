%% SPDX-License-Identifier: Apache-2.0
%% The traffic of a soak, run on its client: workers that do one thing after the other, chosen by
%% chance, and count how each went. Nothing of it is left when it has been stopped.
-module(gen_rpc_soak_load).

-export([start/2, stop/0, counts/0, operations/0]).
%% Run on the servers.
-export([start_sink/0, echo/1, slow/1, count/1]).

-type operation() :: atom().
-type outcome() :: ok | wrong | {atom(), term()}.
%% A steady server is never killed, and nobody cuts its connections.
-type counts() :: #{{operation(), steady | disturbed, outcome()} => pos_integer()}.
-type servers() :: #{steady := [node()], disturbed := [node()]}.
-export_type([counts/0, servers/0]).

-define(TABLE, ?MODULE).
-define(SINK, gen_rpc_test_sink).

%% No call to a steady server fails because of this, however busy the machine is, ms.
-define(LIMIT, 60000).

%% What a function takes that nobody waits for, and how long its caller has at most, ms.
-define(SLOW, 300).
-define(PATIENCE, 30).

-define(SMALL_MAX, 2000).
-define(LARGE_MAX, 4000000).
-define(KEYS, 8).

%% What is done, and how often among the sum of all.
operations_with_weights() ->
    [{call, 40}, {call_large, 3}, {call_keyed, 8}, {async, 10}, {async_forgotten, 2}, {cast, 20},
     {ordered_cast, 10}, {multicall, 4}, {send_request, 8}, {abcast, 5}, {sbcast, 3},
     {eval_everywhere, 2}, {timeout, 2}, {dying_caller, 2}].

-spec operations() -> [operation()].
operations() ->
    [Operation || {Operation, _} <- operations_with_weights()].

%%% Client

-spec start(servers(), Workers :: pos_integer()) -> ok.
start(Servers, Workers) ->
    Starter = self(),
    Pid = spawn(fun() -> manage(Starter, Servers, Workers) end),
    receive {Pid, started} -> ok end.

%% When each worker is done with what it does.
-spec stop() -> counts().
stop() ->
    Monitor = monitor(process, ?MODULE),
    ?MODULE ! {stop, self(), Monitor},
    receive
        {Monitor, Counts} -> true = demonitor(Monitor, [flush]), Counts;
        {'DOWN', Monitor, process, _, Reason} -> error({load_ended, Reason})
    end.

%% Until now.
-spec counts() -> counts().
counts() ->
    maps:from_list(ets:tab2list(?TABLE)).

manage(Starter, Servers, Workers) ->
    true = register(?MODULE, self()),
    ?TABLE = ets:new(?TABLE, [named_table, public, {write_concurrency, true}]),
    Choices = lists:append([lists:duplicate(Weight, Operation)
                            || {Operation, Weight} <- operations_with_weights()]),
    Going = atomics:new(1, []),
    Monitors = [element(2, spawn_monitor(fun() -> work(Going, list_to_tuple(Choices), Servers) end))
                || _ <- lists:seq(1, Workers)],
    Starter ! {self(), started},
    receive
        {stop, From, Tag} ->
            ok = atomics:put(Going, 1, 1),
            [receive {'DOWN', Monitor, process, _, Reason} -> normal = Reason end
             || Monitor <- Monitors],
            From ! {Tag, counts()}
    end.

work(Going, Choices, Servers) ->
    case atomics:get(Going, 1) of
        0 ->
            Operation = element(rand:uniform(tuple_size(Choices)), Choices),
            Class = one_of([steady, disturbed]),
            Outcome = try operate(Operation, maps:get(Class, Servers))
                      catch error:{erpc, Reason} -> {erpc, Reason}
                      end,
            _ = ets:update_counter(?TABLE, {Operation, Class, Outcome}, 1,
                                   {{Operation, Class, Outcome}, 0}),
            work(Going, Choices, Servers);
        1 ->
            ok
    end.

operate(call, Nodes) ->
    Body = body(?SMALL_MAX),
    expect(Body, gen_rpc:call(one_of(Nodes), ?MODULE, echo, [Body], ?LIMIT));
operate(call_large, Nodes) ->
    Body = body(?LARGE_MAX),
    expect(Body, gen_rpc:call(one_of(Nodes), ?MODULE, echo, [Body], ?LIMIT));
operate(call_keyed, Nodes) ->
    Body = body(?SMALL_MAX),
    Dest = {one_of(Nodes), rand:uniform(?KEYS)},
    expect(Body, gen_rpc:call(Dest, ?MODULE, echo, [Body], ?LIMIT));
operate(async, Nodes) ->
    Body = body(?SMALL_MAX),
    expect(Body, gen_rpc:yield(gen_rpc:async_call(one_of(Nodes), ?MODULE, echo, [Body])));
operate(async_forgotten, Nodes) ->
    {_, Monitor} = spawn_monitor(fun() ->
                                         gen_rpc:async_call(one_of(Nodes), ?MODULE, slow, [?SLOW])
                                 end),
    receive {'DOWN', Monitor, process, _, normal} -> ok end;
operate(cast, Nodes) ->
    expect(true, gen_rpc:cast(one_of(Nodes), ?MODULE, count, [body(?SMALL_MAX)]));
operate(ordered_cast, Nodes) ->
    expect(true, gen_rpc:ordered_cast(one_of(Nodes), ?MODULE, count, [body(?SMALL_MAX)]));
operate(multicall, Nodes) ->
    Body = body(?SMALL_MAX),
    case gen_rpc:multicall(Nodes, ?MODULE, echo, [Body], ?LIMIT) of
        {Results, []} -> worst([expect(Body, Result) || Result <- Results]);
        {_, [_ | _]} -> {badrpc, bad_nodes}
    end;
operate(send_request, Nodes) ->
    Body = body(?SMALL_MAX),
    Request = gen_rpc_erpc:send_request(one_of(Nodes), ?MODULE, echo, [Body]),
    expect(Body, gen_rpc_erpc:receive_response(Request, ?LIMIT));
operate(abcast, Nodes) ->
    expect(abcast, gen_rpc:abcast(Nodes, ?SINK, body(?SMALL_MAX)));
operate(sbcast, Nodes) ->
    case gen_rpc:sbcast(Nodes, ?SINK, body(?SMALL_MAX)) of
        {_, []} -> ok;
        {_, [_ | _]} -> {badrpc, bad_nodes}
    end;
operate(eval_everywhere, Nodes) ->
    expect(abcast, gen_rpc:eval_everywhere(Nodes, ?MODULE, count, [body(?SMALL_MAX)]));
operate(timeout, Nodes) ->
    expect({badrpc, timeout},
           gen_rpc:call(one_of(Nodes), ?MODULE, slow, [?SLOW], rand:uniform(?PATIENCE)));
operate(dying_caller, Nodes) ->
    {Pid, Monitor} = spawn_monitor(fun() ->
                                           gen_rpc:call(one_of(Nodes), ?MODULE, slow, [?SLOW])
                                   end),
    receive {'DOWN', Monitor, process, _, normal} -> ok
    after rand:uniform(?PATIENCE) ->
        true = exit(Pid, kill),
        receive {'DOWN', Monitor, process, _, _} -> ok end
    end.

expect(Wanted, Wanted) -> ok;
expect(_, {Class, Reason}) when Class =:= badrpc; Class =:= badtcp -> {Class, Reason};
expect(_, _) -> wrong.

worst(Outcomes) ->
    lists:foldl(fun(ok, Worst) -> Worst; (Outcome, _) -> Outcome end, ok, Outcomes).

%% Half of them can be compressed.
body(Max) ->
    Size = rand:uniform(Max),
    case rand:uniform(2) of
        1 -> rand:bytes(Size);
        2 -> binary:copy(<<"gen_rpc ">>, 1 + Size div 8)
    end.

one_of(List) ->
    lists:nth(rand:uniform(length(List)), List).

%%% Servers

%% Takes what is broadcast.
-spec start_sink() -> ok.
start_sink() ->
    Starter = self(),
    Pid = spawn(fun() -> true = register(?SINK, self()), Starter ! {self(), up}, sink() end),
    receive {Pid, up} -> ok end.

sink() ->
    receive _ -> sink() end.

-spec echo(T) -> T.
echo(Term) ->
    Term.

-spec slow(non_neg_integer()) -> ok.
slow(Time) ->
    receive after Time -> ok end.

-spec count(binary()) -> non_neg_integer().
count(Body) ->
    byte_size(Body).
