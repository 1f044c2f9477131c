%% SPDX-License-Identifier: Apache-2.0
%% What a node needs in memory for casts to another one that does not read: the other one is stopped
%% by SIGSTOP. Each cast has a binary of its own, as else they would share one.
-module(gen_rpc_bench_stopped).

-export([run/3, cast_all/3, warm_up/2, answers/2]).

-type via() :: gen_rpc | erpc.
-type figures() :: #{rss | vm := float(),  % MB more than before at the worst moment
                     offered := float(),   % MB, sent or dropped
                     seconds := float()}.  % how long that took

-define(SENDERS, 4).
-define(BYTES, 100000).
-define(CASTS, 2500). % of each sender: 1 GB of all

%% Ends it, ms: all of it; when nobody gets rid of a cast any more, as senders of erpc, which wait
%% for as long as it takes.
-define(TIME, 20000).
-define(STUCK, 3000).

-define(SAMPLE, 10). % ms between two
-define(AFTER, 500). % ms to watch after the last cast

-define(PATIENCE, 15000).
-define(TARGET, gen_rpc_bench_target).

%% Wait is the SendTimeout of a cast of gen_rpc, ms: with nobody reading it is what a cast takes.
-spec run(via(), gen_rpc_bench_node:pair(), Wait :: pos_integer()) -> figures().
run(Via, #{client := Client, server := #{node := Node} = Server}, Wait) ->
    ok = gen_rpc_bench_node:call(Client, ?MODULE, warm_up, [Via, Node]),
    OsPid = gen_rpc_bench_node:call(Server, os, getpid, []),
    Figures = gen_rpc_bench_os:while_stopped(
                OsPid,
                fun() -> gen_rpc_bench_node:call(Client, ?MODULE, cast_all, [Via, Node, Wait]) end),
    true = gen_rpc_bench_node:call(Client, ?MODULE, answers, [Via, Node]),
    Figures.

%% Loads code and makes the connection.
-spec warm_up(via(), node()) -> ok.
warm_up(Via, Server) ->
    ok = erpc:call(Server, ?TARGET, reset, []),
    ok = send(Via, Server, ?PATIENCE, 20),
    ok = erpc:call(Server, ?TARGET, await, [20, ?PATIENCE]).

%% Whether the other one answers again, as soon as it can.
-spec answers(via(), node()) -> boolean().
answers(Via, Server) ->
    End = erlang:monotonic_time(millisecond) + ?PATIENCE,
    answers(Via, Server, make_ref(), End).

answers(Via, Server, Ref, End) ->
    case erlang:monotonic_time(millisecond) < End andalso catch call(Via, Server, [Ref]) of
        Ref -> true;
        false -> false;
        _ -> timer:sleep(?SAMPLE), answers(Via, Server, Ref, End)
    end.

call(gen_rpc, Server, Args) -> gen_rpc:call(Server, ?TARGET, echo, Args, ?PATIENCE);
call(erpc, Server, Args) -> erpc:call(Server, ?TARGET, echo, Args, ?PATIENCE).

-spec cast_all(via(), node(), Wait :: pos_integer()) -> figures().
cast_all(Via, Server, Wait) ->
    _ = process_flag(priority, high),
    Offered = counters:new(1, []),
    Sender = fun() -> offer(Via, Server, Wait, Offered, ?CASTS) end,
    lists:foreach(fun erlang:garbage_collect/1, processes()),
    Before = sizes(),
    Begin = erlang:monotonic_time(millisecond),
    Senders = [spawn_opt(Sender, [monitor, {priority, normal}]) || _ <- lists:seq(1, ?SENDERS)],
    Worst0 = watch_all(Offered, {0, Begin}, Begin + ?TIME, Before),
    End = erlang:monotonic_time(millisecond),
    Worst = watch(End + ?AFTER, Worst0),
    lists:foreach(fun end_sender/1, Senders),
    [Rss, Vm] = [(Size - Size0) / 1.0e6 || {Size, Size0} <- lists:zip(Worst, Before)],
    #{rss => Rss, vm => Vm, offered => counters:get(Offered, 1) * ?BYTES / 1.0e6,
      seconds => (End - Begin) / 1000}.

offer(_Via, _Server, _Wait, _Offered, 0) ->
    ok;
offer(Via, Server, Wait, Offered, N) ->
    ok = send(Via, Server, Wait, 1),
    ok = counters:add(Offered, 1, 1),
    offer(Via, Server, Wait, Offered, N - 1).

send(_Via, _Server, _Wait, 0) ->
    ok;
send(Via, Server, Wait, N) ->
    Payload = [binary:copy(<<N>>, ?BYTES)],
    ok = case Via of
             gen_rpc -> true = gen_rpc:cast(Server, ?TARGET, count, Payload, Wait), ok;
             erpc -> erpc:cast(Server, ?TARGET, count, Payload)
         end,
    send(Via, Server, Wait, N - 1).

end_sender({Pid, Monitor}) ->
    exit(Pid, kill),
    receive
        {'DOWN', Monitor, process, Pid, Reason} when Reason =:= normal; Reason =:= killed;
                                                     Reason =:= noproc -> ok;
        {'DOWN', Monitor, process, Pid, Reason} -> error(Reason)
    end.

%% The largest sizes until all is offered, or time is up. Last: how many were, and since when.
watch_all(Offered, {Count0, Since0} = Last0, End, Worst) ->
    Now = erlang:monotonic_time(millisecond),
    Last = case counters:get(Offered, 1) of
               Count0 -> Last0;
               Count -> {Count, Now}
           end,
    case Count0 =:= ?SENDERS * ?CASTS orelse Now > End orelse Now - Since0 > ?STUCK of
        true -> Worst;
        false -> watch_all(Offered, Last, End, sample(Worst))
    end.

watch(End, Worst) ->
    case erlang:monotonic_time(millisecond) < End of
        true -> watch(End, sample(Worst));
        false -> Worst
    end.

sample(Worst) ->
    timer:sleep(?SAMPLE),
    [max(Size, Old) || {Size, Old} <- lists:zip(sizes(), Worst)].

sizes() ->
    [gen_rpc_bench_os:rss(os:getpid()), erlang:memory(total)].
