%% SPDX-License-Identifier: Apache-2.0
%% A soak: mixed traffic between real nodes on loopback for as long as is asked for, while
%% connections are cut, and a server is killed and started again. Between rounds of traffic all
%% comes to rest, and samples are taken. In the end nothing may have grown since the warm-up.
-module(gen_rpc_soak).

-export([main/1]).

-import(gen_rpc_test_node, [call/4, call/5, wait/2]).

-type role() :: client | tcp | tls | behind_proxy | killed.
-type state() :: #{nodes := #{role() => gen_rpc_test_node:t()},
                   killed := {Name :: string(), [{atom(), term()}]}, % how it is started
                   proxy := gen_rpc_test_proxy:t(),
                   tally := gen_rpc_soak_load:counts(), % of all rounds that are over
                   cuts := non_neg_integer(),
                   kills := non_neg_integer(),
                   said := {Time :: integer(), Done :: non_neg_integer()},
                   samples := #{role() => [gen_rpc_soak_sample:t()]}}. % the last one comes first

%% For certificates and keys. An interrupted run leaves them here to the next one.
-define(DIR, "_build/soak").

-define(WORKERS, 8).

%% Traffic and rest, by turns: enough rounds for a trend, none longer than this, ms.
-define(ROUNDS_MIN, 6).
-define(ROUND_MAX, 90000).

%% The part of them that is not judged.
-define(WARM_UP, 0.2).

%% Of a round, what is left for rest, and what traffic has at least, ms.
-define(REST, 4000).
-define(TRAFFIC_MIN, 3000).

%% Between two lines, two cuts, and two kills, ms. The last two happen once in each round at least.
-define(SAY, 30000).
-define(CUT, 1500).
-define(KILL, 12000).

%% After so many bytes at most a connection is cut.
-define(CUT_BYTES, 200000).

%% How long a connection of the client may be idle, how long it may take until all is at rest, and
%% how long that lasts until it is believed, ms.
-define(INACTIVITY, 1000).
-define(REST_MAX, 60000).
-define(STABLE, 300).

%% To stop the traffic: the longest call, and some more, ms.
-define(STOP_MAX, 120000).

-define(MEASURED, [client, tcp, tls, behind_proxy]).

%% The minutes that it may take.
-spec main([string()]) -> no_return().
main([Minutes]) ->
    Time = list_to_integer(Minutes) * 60000,
    Dir = filename:absname(?DIR),
    _ = file:del_dir_r(Dir),
    Checks = try soak(Time, Dir) after file:del_dir_r(Dir) end,
    [say("failed: ~ts", [What]) || {false, What} <- Checks],
    Failed = length([false || {false, _} <- Checks]),
    say("~b passed, ~b failed", [length(Checks) - Failed, Failed]),
    halt(min(1, Failed)).

soak(Time, Dir) ->
    Rounds = max(?ROUNDS_MIN, ceil(Time / ?ROUND_MAX)),
    WarmUp = ceil(Rounds * ?WARM_UP),
    Traffic = max(?TRAFFIC_MIN, Time div Rounds - ?REST),
    say("~b rounds with ~.1f s of traffic; the first ~b are to warm up",
        [Rounds, Traffic / 1000, WarmUp]),
    State = lists:foldl(fun(Round, State) -> rest(Round, traffic(Round, Traffic, State)) end,
                        start(Dir), lists:seq(1, Rounds)),
    judge_traffic(Rounds, State) ++ judge_samples(WarmUp, State) ++ stop(State).

%%% Nodes

-spec start(file:filename()) -> state().
start(Dir) ->
    Ca = gen_rpc_test_certs:new(Dir),
    [ClientName, TlsName, KilledName] = [peer:random_name() || _ <- lists:seq(1, 3)],
    Options = fun(Name) ->
                      Node = list_to_atom(Name ++ "@127.0.0.1"),
                      gen_rpc_test_certs:options(gen_rpc_test_certs:node(Ca, Node))
              end,
    Tcp = start_server(peer:random_name(), []),
    Tls = start_server(TlsName, [{tcp_server_port, false}, {ssl_server_port, 0}, {compress, 6},
                                 {ssl_server_options, Options(TlsName)}]),
    Behind = start_server(peer:random_name(), [{max_concurrent_calls, 100}]),
    How = {KilledName, [{tcp_server_port, gen_rpc_test_node:free_port()}]},
    Killed = start_server(How),
    Proxy = gen_rpc_test_proxy:start(maps:get(port, Behind)),
    Ways = #{maps:get(node, Tcp) => {tcp, maps:get(port, Tcp)},
             maps:get(node, Tls) => {ssl, maps:get(ssl_port, Tls)},
             maps:get(node, Behind) => {tcp, gen_rpc_test_proxy:port(Proxy)},
             maps:get(node, Killed) => {tcp, maps:get(port, Killed)}},
    Client = gen_rpc_test_node:start(ClientName,
                                     [{client_config_per_node, {internal, Ways}},
                                      {client_inactivity_timeout, ?INACTIVITY},
                                      {ssl_client_options, Options(ClientName)} | quiet()]),
    #{nodes => #{client => Client, tcp => Tcp, tls => Tls, behind_proxy => Behind,
                 killed => Killed},
      killed => How, proxy => Proxy, tally => #{}, cuts => 0, kills => 0, said => {now_ms(), 0},
      samples => maps:from_list([{Role, []} || Role <- ?MEASURED])}.

start_server({Name, Settings}) ->
    start_server(Name, Settings).

start_server(Name, Settings) ->
    T = gen_rpc_test_node:start(Name, Settings ++ quiet()),
    ok = call(T, gen_rpc_soak_load, start_sink, []),
    T.

%% Every connection that is lost would be in the log.
quiet() ->
    [{args, ["-kernel", "logger_level", "critical"]}].

node_of(Role, #{nodes := Nodes}) ->
    maps:get(Role, Nodes).

names(Roles, State) ->
    [maps:get(node, node_of(Role, State)) || Role <- Roles].

%%% Traffic

traffic(Round, Time, State0) ->
    Client = node_of(client, State0),
    ok = call(Client, application, set_env, [gen_rpc, compress, Round rem 2]),
    ok = call(Client, gen_rpc, reconfigure, []),
    Servers = #{steady => names([tcp, tls], State0),
                disturbed => names([behind_proxy, killed], State0)},
    ok = call(Client, gen_rpc_soak_load, start, [Servers, ?WORKERS]),
    Now = now_ms(),
    {Said, _} = maps:get(said, State0),
    #{tally := Tally} = State =
        disturb([{Now + min(?CUT, Time div 2), cut}, {Now + min(?KILL, Time div 2), kill},
                 {Said + ?SAY, say}], Now + Time, State0),
    Counts = call(Client, gen_rpc_soak_load, stop, [], ?STOP_MAX),
    State#{tally := sum(Tally, Counts)}.

%% Until the end of a round: what happens next, and when.
disturb(Agenda, End, State) ->
    [{Next, What} | Later] = lists:sort(Agenda),
    case Next < End of
        true ->
            ok = sleep_until(Next),
            After = do(What, State),
            disturb([{now_ms() + pause(What), What} | Later], End, After);
        false ->
            ok = sleep_until(End),
            State
    end.

pause(cut) -> ?CUT;
pause(kill) -> ?KILL;
pause(say) -> ?SAY.

do(cut, #{proxy := Proxy, cuts := Cuts} = State) ->
    Direction = lists:nth(rand:uniform(2), [to_server, to_client]),
    ok = gen_rpc_test_proxy:reset_after(Proxy, Direction, rand:uniform(?CUT_BYTES)),
    State#{cuts := Cuts + 1};
do(kill, #{nodes := Nodes, killed := How, kills := Kills} = State) ->
    ok = gen_rpc_test_node:kill(maps:get(killed, Nodes)),
    State#{nodes := Nodes#{killed := start_server(How)}, kills := Kills + 1};
do(say, #{tally := Tally} = State) ->
    Counts = call(node_of(client, State), gen_rpc_soak_load, counts, []),
    Samples = [{Role, call(node_of(Role, State), gen_rpc_soak_sample, take, [])}
               || Role <- ?MEASURED],
    say("traffic", sum(Tally, Counts), Samples, State).

sum(Counts, More) ->
    maps:fold(fun(Key, N, Sum) -> Sum#{Key => N + maps:get(Key, Sum, 0)} end, Counts, More).

%%% Rest

rest(Round, #{samples := Samples0, tally := Tally} = State) ->
    Samples = [{Role, sample_at_rest(node_of(Role, State))} || Role <- ?MEASURED],
    After = State#{samples := maps:from_list([{Role, [Sample | maps:get(Role, Samples0)]}
                                              || {Role, Sample} <- Samples])},
    say(io_lib:format("rest ~b", [Round]), Tally, Samples, After).

%% If it does not come to rest, the sample shows what is left.
sample_at_rest(T) ->
    _ = try wait(fun() -> is_at_rest(T) end, ?REST_MAX) catch error:condition_never_held -> restless
        end,
    call(T, gen_rpc_soak_sample, take_at_rest, []).

is_at_rest(T) ->
    Before = gen_rpc_test_node:resources(T),
    call(T, gen_rpc_soak_sample, is_at_rest, []) andalso
        begin
            timer:sleep(?STABLE),
            gen_rpc_test_node:resources(T) =:= Before
        end.

%%% What is said

say(When, Counts, Samples, #{said := {Then, Before}, cuts := Cuts, kills := Kills} = State) ->
    Now = now_ms(),
    Done = lists:sum(maps:values(Counts)),
    say("~ts ~s: ~b done, ~b/s; ~b cuts, ~b kills; errors: ~0tp",
        [calendar:system_time_to_rfc3339(erlang:system_time(second)), When, Done,
         (Done - Before) * 1000 div max(1, Now - Then), Cuts, Kills, errors(Counts)]),
    [say("    ~-12s ~s", [Role, gen_rpc_soak_sample:line(Sample)]) || {Role, Sample} <- Samples],
    State#{said := {Now, Done}}.

errors(Counts) ->
    maps:to_list(maps:fold(fun({_, _, ok}, _, Errors) -> Errors;
                              ({_, Class, Error}, N, Errors) -> sum(Errors, #{{Class, Error} => N})
                           end, #{}, Counts)).

say(Format, Arguments) ->
    io:format(Format ++ "~n", Arguments).

now_ms() ->
    erlang:monotonic_time(millisecond).

sleep_until(Time) ->
    timer:sleep(max(0, Time - now_ms())).

%%% Judgement

judge_traffic(Rounds, #{tally := Tally, cuts := Cuts, kills := Kills}) ->
    Errors = errors(Tally),
    [{maps:is_key({Operation, Class, ok}, Tally),
      format("~s, ~s: never went well", [Operation, Class])}
     || Operation <- gen_rpc_soak_load:operations(), Class <- [steady, disturbed]] ++
        [{[N || {{_, wrong}, N} <- Errors] =:= [], "a result was not what it should be"},
         {[N || {{steady, _}, N} <- Errors] =:= [], "a call to an undisturbed server failed"},
         {[N || {{disturbed, _}, N} <- Errors] =/= [], "no cut and no kill was felt"},
         {Cuts >= Rounds, format("~b cuts in ~b rounds", [Cuts, Rounds])},
         {Kills >= Rounds, format("~b kills in ~b rounds", [Kills, Rounds])}].

judge_samples(WarmUp, #{samples := Samples}) ->
    [{Held, format("~s: ~ts", [Role, What])}
     || Role <- ?MEASURED,
        {Held, What} <- gen_rpc_soak_sample:judge(
                          lists:nthtail(WarmUp - 1, lists:reverse(maps:get(Role, Samples))))].

%% A stopped gen_rpc leaves nothing.
stop(#{nodes := Nodes, proxy := Proxy}) ->
    Checks = [begin
                  ok = gen_rpc_test_node:stop_app(T),
                  Left = gen_rpc_test_node:leftovers(T),
                  {Left =:= [], format("~s: left when it is stopped: ~0tp", [Role, Left])}
              end || {Role, T} <- maps:to_list(Nodes)],
    ok = gen_rpc_test_proxy:stop(Proxy),
    ok = lists:foreach(fun gen_rpc_test_node:stop/1, maps:values(Nodes)),
    Checks.

format(Format, Arguments) ->
    lists:flatten(io_lib:format(Format, Arguments)).
