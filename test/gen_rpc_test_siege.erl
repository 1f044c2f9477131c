%% SPDX-License-Identifier: Apache-2.0
%% Two honest nodes that go on calling while a third party attacks one of them: what their calls took
%% before and meanwhile, how much memory the victim had at most, and what it logged.
-module(gen_rpc_test_siege).

-export([run/4, report/2]).
-export([call_on/2, watch/0, ask/2]).

-import(gen_rpc_test_node, [call/4]).

%% Processes that call without a pause but this one, ms, and how long they do so before the attack.
-define(CALLERS, 4).
-define(PAUSE, 1).
-define(BEFORE, 300).

%% How often memory is looked at, ms.
-define(SAMPLE, 10).

-type latency() :: #{calls := non_neg_integer(), p50 := us(), p99 := us(), max := us()}.
-type us() :: non_neg_integer().

-type report(Result) :: #{result := Result,
                          calls_before := latency(),
                          calls := latency(), % during the attack
                          wrong := [term()],  % results of calls that are not what they should be
                          memory := integer(), % bytes at most, beyond what was there before
                          atoms := integer(),  % how many more than before
                          lines := non_neg_integer(), % of gen_rpc, in the victim's log
                          reasons := #{{What :: string(), Reason :: term()} => pos_integer()},
                          left_out := non_neg_integer()}. % lines over the limit
-export_type([report/1]).

%% Runs the attack on one of the two in the calling process.
-spec run(gen_rpc_test_node:t(), gen_rpc_test_node:t(), client | server, fun(() -> Result)) ->
          report(Result).
run(Client, #{node := Node} = Server, Whom, Attack) ->
    Victim = case Whom of client -> Client; server -> Server end,
    %% Once before anything is measured, so that all code is loaded.
    Node = call(Client, gen_rpc, call, [Node, erlang, node, []]),
    ok = gen_rpc_test_events:clear(Victim),
    Atoms = call(Victim, erlang, system_info, [atom_count]),
    Watcher = call(Victim, erlang, spawn, [?MODULE, watch, []]),
    Calm = start(Client, Node),
    timer:sleep(?BEFORE),
    {Before, WrongBefore} = stop(Client, Calm),
    Callers = start(Client, Node),
    Result = try
                 Attack()
             catch
                 Class:Reason:Stack ->
                     _ = stop(Client, Callers),
                     erlang:raise(Class, Reason, Stack)
             end,
    {During, Wrong} = stop(Client, Callers),
    Memory = call(Victim, ?MODULE, ask, [Watcher, peak]),
    More = call(Victim, erlang, system_info, [atom_count]) - Atoms,
    Lines = [Report || #{report := #{what := _} = Report} <- gen_rpc_test_events:ours(Victim)],
    #{result => Result, calls_before => latency(Before), calls => latency(During),
      wrong => WrongBefore ++ Wrong, memory => Memory, atoms => More, lines => length(Lines),
      reasons => reasons(Lines), left_out => lists:sum([N || #{left_out := N} <- Lines])}.

%% One line for the log of the suite.
-spec report(atom(), report(term())) -> ok.
report(Name, #{calls_before := Before, calls := During, memory := Memory, lines := Lines,
               reasons := Reasons, left_out := LeftOut, atoms := Atoms}) ->
    ct:pal("~s: honest calls ~s before, ~s meanwhile; memory at most ~b kB more; atoms ~b more; "
           "~b lines, ~b left out: ~0p",
           [Name, shown(Before), shown(During), Memory div 1024, Atoms, Lines, LeftOut, Reasons]).

shown(#{calls := N, p50 := P50, p99 := P99, max := Max}) ->
    io_lib:format("~b (p50 ~b us, p99 ~b us, at most ~b us)", [N, P50, P99, Max]).

reasons(Lines) ->
    lists:foldl(fun(#{what := What} = Line, Acc) ->
                        maps:update_with({What, maps:get(reason, Line, none)}, fun(N) -> N + 1 end,
                                         1, Acc)
                end, #{}, Lines).

%%% On the client

start(Client, Node) ->
    [call(Client, erlang, spawn, [?MODULE, call_on, [Node, I]]) || I <- lists:seq(1, ?CALLERS)].

stop(Client, Callers) ->
    Answers = [call(Client, ?MODULE, ask, [Caller, times]) || Caller <- Callers],
    {Times, Wrong} = lists:unzip(Answers),
    {lists:append(Times), lists:append(Wrong)}.

%% Calls until it is asked. Each caller has a number, and its results are its own.
-spec call_on(node(), integer()) -> ok.
call_on(Node, Number) ->
    call_on(Node, Number, [], []).

call_on(Node, Number, Times, Wrong) ->
    receive
        {From, times} -> From ! {self(), {Times, Wrong}}, ok
    after ?PAUSE ->
        Unique = {Number, length(Wrong), erlang:unique_integer()},
        Started = erlang:monotonic_time(microsecond),
        Result = gen_rpc:call(Node, gen_rpc_test_target, echo, [Unique], infinity),
        Time = erlang:monotonic_time(microsecond) - Started,
        call_on(Node, Number, [Time | Times], [R || R <- [Result], R =/= Unique] ++ Wrong)
    end.

latency(Times) ->
    Sorted = lists:sort(Times),
    N = length(Sorted),
    At = fun(Percent) when N > 0 -> lists:nth(max(1, N * Percent div 100), Sorted);
            (_) -> 0
         end,
    #{calls => N, p50 => At(50), p99 => At(99), max => At(100)}.

%%% On the victim

%% Looks at the VM's memory until it is asked for the most.
-spec watch() -> ok.
watch() ->
    _ = process_flag(priority, high),
    Start = gen_rpc_test_node:memory(total),
    watch(Start, Start).

watch(Start, Peak) ->
    receive
        {From, peak} -> From ! {self(), max(Peak, gen_rpc_test_node:memory(total)) - Start}, ok
    after ?SAMPLE ->
        watch(Start, max(Peak, gen_rpc_test_node:memory(total)))
    end.

%%% On both

%% Of a process on the node itself: a pid means nothing on another one.
-spec ask(pid(), times | peak) -> term().
ask(Pid, What) ->
    Pid ! {self(), What},
    receive {Pid, Answer} -> Answer end.
