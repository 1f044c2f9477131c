#!/usr/bin/env escript
%% SPDX-License-Identifier: Apache-2.0
%% What gen_rpc does, shown on real nodes, each an OS process of its own on the loopback interface.
%% `make demo` runs it; so does `escript examples/demo.escript` after `rebar3 compile`.
%% It leaves nothing behind: when this process ends, however it does, the nodes lose their standard
%% input and end (the one that is stopped for a while goes on for that), and the certificates are
%% removed. The nodes find each other without epmd.
-module(gen_rpc_demo).
-mode(compile).

-export([main/1]).
%% Run on the nodes.
-export([echo/1, new_counter/0, count/0, counted/0, keep/1, kept/0, kept_md5/0]).
-export([give_up/2, cast_many/3, many/6, negotiated/1, transfer/2, rate/4, speed/3]).
-export([flood/5, gauged/1, sleeping/0, async_calls/2, slow_echo/1]).
-export([record/1, recorded/2, in_turn/5, sent/2, beside/4]).

-define(COOKIE, "gen_rpc_demo").
-define(TIME_LIMIT, 120000). % ms; a demo that takes longer hangs
-define(CALL_LIMIT, 30000).  % ms; of one step
-define(ROUND, 400).         % ms; of one measurement of calls
-define(ROUNDS, 3).
-define(MB, 1000000).
-define(WORKERS, 100).       % that gamma has at once

main(_) ->
    _ = spawn(fun() -> timer:sleep(?TIME_LIMIT), fail("it did not end within two minutes") end),
    Start = erlang:monotonic_time(millisecond),
    try run() of
        Checks ->
            Seconds = (erlang:monotonic_time(millisecond) - Start) / 1000,
            case length([failed || false <- Checks]) of
                0 -> say("~nAll ~b checks passed in ~.1f s.~n", [length(Checks), Seconds]);
                N -> fail(io_lib:format("~b of ~b checks failed", [N, length(Checks)]))
            end
    catch
        throw:Reason -> fail(Reason);
        Class:Reason:Stack -> fail(io_lib:format("~p: ~0p~n~p", [Class, Reason, Stack]))
    end.

run() ->
    say("~ts~n", [bold("gen_rpc between BEAM nodes")]),
    {Keeper, Dir} = directory(),
    Certs = certificates(Dir),
    Setup = {code(), free_port()},
    Beta = start("beta", {127, 0, 0, 2}, ?COOKIE, Setup,
                 [{ssl_server_port, 0}, {ssl_server_options, maps:get(beta, Certs)}]),
    Gamma = start("gamma", {127, 0, 0, 3}, ?COOKIE, Setup,
                  [{max_concurrent_calls, ?WORKERS}, {kill_on_cancel, true}]),
    Mallory = start("mallory", {127, 0, 0, 4}, "another", Setup, []),
    %% Whoever wants to call nobody over TLS arrives at beta.
    Nobody = #{node => 'nobody@127.0.0.6', tcp => free_port(), ssl => maps:get(ssl, Beta)},
    Alpha = start("alpha", {127, 0, 0, 1}, ?COOKIE, Setup,
                  [ways(tcp, [Beta, Gamma, Mallory, Nobody])]),
    Delta = start("delta", {127, 0, 0, 5}, ?COOKIE, Setup,
                  [ways(ssl, [Beta, Nobody]), {ssl_client_options, maps:get(delta, Certs)}]),
    Nodes = [Alpha, Beta, Gamma, Mallory, Delta],
    try
        say("~nErlang/OTP ~s, ~b cores. Each node is an OS process of its own:~n",
            [erlang:system_info(otp_release), erlang:system_info(schedulers_online)]),
        lists:foreach(fun(Node) -> introduce(Node) end, Nodes),
        calls(Alpha, Beta) ++ later(Alpha, Beta, Gamma, Nobody) ++ rules(Alpha, Gamma) ++
            casts(Alpha, Beta) ++ stopped(Alpha, Gamma, Beta) ++
            limits(Alpha, Gamma) ++ order(Alpha, [Beta, Gamma], Nobody) ++
            failures(Alpha, Gamma, Mallory, Nobody) ++
            compression(Alpha, Beta) ++ transfers(Alpha, Beta) ++ small_and_large(Alpha, Beta) ++
            tls(Delta, Beta) ++ casts(Delta, Beta) ++ order(Delta, [Beta], Nobody) ++
            failures_of_tls(Delta, Beta, Mallory, Nobody, Certs) ++
            transfers(Delta, Beta) ++ small_and_large(Delta, Beta) ++
            compare(Alpha, Delta, Beta)
    after
        lists:foreach(fun(#{peer := Peer}) -> catch peer:stop(Peer) end, Nodes),
        release(Keeper)
    end.

%%% What is shown

calls(Alpha, Beta) ->
    title("alpha calls beta"),
    Call = fun(M, F, A) -> rpc(Alpha, Beta, [M, F, A]) end,
    BetaNode = maps:get(node, Beta),
    {GivenUp, Took, Left} = on(Alpha, give_up, [BetaNode, 100]),
    Keys = lists:seq(1, 8),
    Sharded = [on(Alpha, gen_rpc, call, [{BetaNode, Key}, erlang, node, []]) || Key <- Keys],
    Connections = proplists:get_value(active,
                                      on(Beta, supervisor, count_children, [gen_rpc_acceptor_sup])),
    Known = on(Alpha, gen_rpc, nodes, []),
    [check("erlang:node()", Call(erlang, node, []), BetaNode),
     check("lists:sum([1, 2, 3])", Call(lists, sum, [[1, 2, 3]]), 6),
     check("erlang:throw(ball)", Call(erlang, throw, [ball]), ball),
     check("erlang:exit(enough)", Call(erlang, exit, [enough]), {badrpc, {'EXIT', enough}}),
     check("erlang:error(oops)", cut(Call(erlang, error, [oops])),
           {badrpc, {'EXIT', {oops, '[...]'}}}),
     check("no:such_function()", cut(Call(no, such_function, [])),
           {badrpc, {'EXIT', {undef, '[...]'}}}),
     check("a slow one, limit 100 ms", GivenUp, {badrpc, timeout}, "after ~b ms", [Took]),
     check("  and messages left over", Left, 0),
     check("sharded by 8 keys", lists:usort(Sharded), [BetaNode], "~b connections", [Connections],
           Connections =:= 1 + length(Keys)),
     check("gen_rpc:nodes()", Known, [BetaNode]),
     check("erlang:nodes()", on(Alpha, erlang, nodes, []), [], "no distribution was used", [])].

later(Alpha, Beta, Gamma, Nobody) ->
    title("alpha asks now, and takes the results later"),
    [AlphaNode, BetaNode, GammaNode, Nowhere] =
        [Node || #{node := Node} <- [Alpha, Beta, Gamma, Nobody]],
    Count = 1000,
    {Processes, Results} = on(Alpha, async_calls, [BetaNode, Count]),
    All = [AlphaNode, BetaNode, Nowhere, GammaNode],
    {Time, {Good, Bad}} =
        timer:tc(fun() -> on(Alpha, gen_rpc, multicall, [All, erlang, node, []]) end),
    [check("1000 async calls, yielded", Results, Count, "~b processes for them meanwhile",
           [Processes], Processes =< 1),
     check("multicall, nobody as well", Bad, [Nowhere], "all others have answered, after ~b ms",
           [Time div 1000], Good =:= [AlphaNode, BetaNode, GammaNode]),
     check("  as erpc has it", on(Alpha, gen_rpc_erpc, multicall, [[BetaNode], erlang, exit, [no]]),
           [{exit, {exception, no}}])].

rules(Alpha, Gamma) ->
    title("gamma has a whitelist, from here on, while its connections stay"),
    Call = fun(M, F, A) -> rpc(Alpha, Gamma, [M, F, A]) end,
    Before = Call(os, getpid, []),
    Whitelist = fun(Control) ->
                        Rules = [{rpc_module_control, Control}, {rpc_module_list, [lists]}],
                        [ok = on(Gamma, application, set_env, [gen_rpc, K, V]) || {K, V} <- Rules],
                        on(Gamma, gen_rpc, reconfigure, [])
                end,
    Atoms = fun() -> on(Gamma, erlang, system_info, [atom_count]) end,
    Ports = fun() -> on(Alpha, gen_rpc_registry, lookup, [maps:get(node, Gamma)]) end,
    Port = Ports(),
    ok = Whitelist(whitelist),
    {Allowed, Refused} = {Call(lists, sum, [[1, 2]]), Call(os, getpid, [])},
    Known = Atoms(),
    Unknown = [Call(list_to_atom("unheard_of_" ++ integer_to_list(I)), f, [])
               || I <- lists:seq(1, 1000)],
    Made = Atoms() - Known,
    ok = Whitelist(disabled),
    [check("lists:sum([1, 2])", Allowed, 3),
     check("os:getpid()", Refused, {badrpc, unauthorized}),
     check("1000 unknown modules", lists:usort(Unknown), [{badrpc, unauthorized}],
           "~b new atoms on gamma", [Made], Made =:= 0),
     check("os:getpid() without it", Call(os, getpid, []), Before, "by the same connection", [],
           Ports() =:= Port)].

casts(From, Beta) ->
    title([name(From), " casts to beta"]),
    {Senders, Each} = {4, 5000},
    All = Senders * Each,
    {Time, Counted} = on(From, cast_many, [maps:get(node, Beta), Senders, Each]),
    [check(io_lib:format("~b casts, ~b senders", [All, Senders]), Counted, All,
           "all counted on beta after ~b ms", [Time div 1000])].

%% Early, because memory that alpha has got before for something else would hide what this takes.
stopped(Alpha, Gamma, Beta) ->
    {Casts, Size, Limit, SendTimeout} = {3000, 100000, 500, 2000},
    title("gamma is stopped (SIGSTOP), alpha casts 300 MB at it, 100 kB each"),
    [GammaNode, BetaNode] = [Node || #{node := Node} <- [Gamma, Beta]],
    Flood = fun() ->
                GammaNode = rpc(Alpha, Gamma, [erlang, node, []]),
                Keeper = stop(Gamma),
                Shown = try on(Alpha, flood, [GammaNode, BetaNode, Casts, Size, Limit])
                        after release(Keeper)
                        end,
                {Shown, rpc(Alpha, Gamma, [erlang, node, []])}
            end,
    {{Memory, Dropped, {Time1, Limited}, {Time2, Unlimited}, Others}, After} =
        with(Alpha, [{cast_overload_policy, drop}, {send_timeout, SendTimeout}], Flood),
    [check("MB of memory alpha takes", Memory, Memory, "~b casts dropped", [Dropped],
           Memory =< 32 andalso Dropped > 0),
     check("100 calls, limit 500 ms", lists:usort(Limited), [{badrpc, timeout}],
           "after ~b ms at most", [Time1 div 1000], Time1 < 1000 * SendTimeout),
     check("a call with no limit", Unlimited, {badtcp, send_timeout}, "after ~b ms",
           [Time2 div 1000]),
     right("beta meanwhile: wrong answers", Others),
     check("gamma when it goes on", After, GammaNode)].

%% Those that begin fill gamma until their time is up. That of the ones behind them is up before.
limits(Alpha, Gamma) ->
    title(io_lib:format("gamma runs at most ~b calls at once, and kills what nobody waits for",
                        [?WORKERS])),
    Node = maps:get(node, Gamma),
    Many = fun(To, Each, M, F, A, Limit) -> on(Alpha, many, [To, Each, M, F, A, Limit]) end,
    ok = on(Gamma, new_counter, []),
    Count = fun() -> maps:get(workers_killed, on(Gamma, gen_rpc_counters, get, [])) end,
    Before = Count(),
    Dests = [{Node, Key} || Key <- lists:seq(1, 4)],
    Gauged = [N || N <- Many(Dests, 250, ?MODULE, gauged, [10], infinity), is_integer(N)],
    Begun = async(fun() -> Many([Node], ?WORKERS, timer, sleep, [infinity], 1000) end),
    ok = until(fun() -> on(Gamma, sleeping, []) =:= ?WORKERS end),
    Late = Many([Node], 200, ?MODULE, count, [], 200),
    GivenUp = answers(Begun),
    Next = rpc(Alpha, Gamma, [erlang, node, []]),
    {Killed, Began} = {Count() - Before, on(Gamma, counted, [])},
    [check("1000 calls, 4 connections", length(Gauged), 1000, "at most ~b at once",
           [lists:max([0 | Gauged])], lists:max([0 | Gauged]) =< ?WORKERS),
     check("100 without end, limit 1 s", lists:usort(GivenUp), [{badrpc, timeout}],
           "~b workers killed", [Killed], Killed =:= ?WORKERS),
     check("200 behind them, limit 200 ms", lists:usort(Late), [{badrpc, timeout}],
           "~b of them began", [Began], Began =:= 0),
     check("  and workers left over", on(Gamma, sleeping, []), 0),
     check("  and the next call", Next, Node)].

order(From, To, Nobody) ->
    title([name(From), " to ", lists:join(" and ", [name(T) || T <- To]),
           " in order, 4 senders, 20 bytes to 2 MB in turn"]),
    {Nodes, Nowhere} = {[Node || #{node := Node} <- To], maps:get(node, Nobody)},
    {Name, Senders, Each} = {list_to_atom(name(From)), 4, 64},
    lists:foreach(fun(T) -> true = on(T, record, [Name]) end, To),
    Sorted = lists:duplicate(length(To), lists:duplicate(Senders, lists:seq(1, Each))),
    Bytes = length(To) * Senders * lists:sum([byte_size(numbered(I)) || I <- lists:seq(1, Each)]),
    Show = fun(What, How) ->
               {Time, Arrived} = on(From, in_turn, [How, Nodes, Name, Senders, Each]),
               check(What, Arrived =:= Sorted, true, "~b messages, ~b MB in ~b ms",
                     [length(To) * Senders * Each, Bytes div ?MB, Time div 1000])
           end,
    Shown = [Show("ordered casts", ordered_cast), Show("abcast and sbcast in turn", broadcast)],
    {Good, Bad} = on(From, gen_rpc, sbcast, [[Nowhere | Nodes], Name, hello]),
    Shown ++ [check("sbcast, to nobody as well", Bad, [Nowhere], "all others have it", [],
                    Good =:= Nodes)].

failures(Alpha, Gamma, Mallory, Nobody) ->
    title("what can go wrong"),
    {Time, Down} = timer:tc(fun() -> rpc(Alpha, Nobody, [erlang, node, []]) end),
    Refused = rpc(Alpha, Mallory, [erlang, node, []]),
    Waiting = 100,
    %% Gamma is killed when all of the calls run there.
    Wait = [[maps:get(node, Gamma)], Waiting, timer, sleep, [infinity], infinity],
    Callers = async(fun() -> on(Alpha, many, Wait) end),
    ok = until(fun() -> on(Gamma, sleeping, []) =:= Waiting end),
    ok = kill(Gamma),
    Lost = answers(Callers),
    AllLost = lists:all(fun({badtcp, _}) -> true; (_) -> false end, Lost),
    [check("nobody listens there", Down, {badrpc, nodedown}, "after ~b ms", [Time div 1000]),
     check("mallory has another cookie", Refused, {badrpc, invalid_cookie}),
     check("gamma killed under 100 calls", hd(Lost), hd(Lost), "~b answers", [length(Lost)],
           length(Lost) =:= Waiting andalso AllLost),
     check("a call to gamma now", rpc(Alpha, Gamma, [erlang, node, []]), {badrpc, nodedown})].

compression(Alpha, Beta) ->
    title("200 lists of 20 users from alpha to beta, compressed"),
    Send = fun() -> on(Alpha, sent, [maps:get(node, Beta), 200]) end,
    Ways = [{"not at all", [], 1}, {"each by itself", [{compress, 6}], 3},
            {"in one context", [{compress, 6}, {compress_context, true}], 4}],
    Sent = [{What, Times, with(Alpha, Settings, Send)} || {What, Settings, Times} <- Ways],
    [{_, _, {_, Plain}} | _] = Sent,
    [check(What, Right, 200, "~b kB on the wire", [Bytes div 1000], Bytes =< Plain div Times)
     || {What, Times, {Right, Bytes}} <- Sent].

transfers(From, Beta) ->
    title(["50 random MB from ", name(From), " to beta and back, 3 times"]),
    Size = 50 * ?MB,
    Rounds = [on(From, transfer, [maps:get(node, Beta), Size]) || _ <- lists:seq(1, ?ROUNDS)],
    {Up, Down, Sizes, MD5s} = unzip4(Rounds),
    [check("bytes that arrived on beta", lists:usort(Sizes), [Size]),
     check("same MD5 here, there and back", lists:all(fun all_equal/1, MD5s), true,
           "~b MB/s there, ~b MB/s back",
           [mb_per_s(Size, median(Up)), mb_per_s(Size, median(Down))])].

small_and_large(From, Beta) ->
    title(["64-byte calls beside 50 MB arguments, ", name(From), " to beta on one connection"]),
    {Node, Size} = {maps:get(node, Beta), 50 * ?MB},
    {Quiet, _} = on(From, beside, [gen_rpc, Node, 0, ?ROUND]),
    {Small, {Times, Wrong}} = on(From, beside, [gen_rpc, Node, Size, 2 * ?ROUND]),
    [right("wrong answers when quiet", Quiet), right("wrong answers beside 50 MB", Small),
     check("  and of the 50 MB", Wrong, 0, "~b calls, ~b MB/s",
           [length(Times), mb_per_s(length(Times) * Size, lists:sum(Times))])].

%% Times in us, in order, and how many answers were wrong.
right(What, {Times, Wrong}) ->
    check(What, Wrong, 0, "~b calls, p50 ~b us, p99 ~b us",
          [length(Times), quantile(0.5, Times), quantile(0.99, Times)], Times =/= []).

%% TLS 1.2 resumes the session of the first connection; with TLS 1.3 each makes one of its own.
tls(Delta, Beta) ->
    title("delta calls beta over TLS"),
    Node = maps:get(node, Beta),
    Call = fun(Dest) -> on(Delta, gen_rpc, call, [Dest, erlang, node, []]) end,
    {Time1, First} = timer:tc(Call, [Node]),
    {Time2, Second} = timer:tc(Call, [{Node, second}]),
    #{version := Version, cipher := Suite, resumed := Resumed1} = on(Delta, negotiated, [Node]),
    #{resumed := Resumed2} = on(Delta, negotiated, [{Node, second}]),
    Ms = fun(Time) -> Time div 1000 end,
    [check("a first connection", First, Node, "~ts in ~b ms", [handshake(Resumed1), Ms(Time1)]),
     check("a second one", Second, Node, "~ts in ~b ms", [handshake(Resumed2), Ms(Time2)],
           {Resumed1, Resumed2} =:= {false, Version =:= 'tlsv1.2'}),
     check("what they have agreed on", Version, Version, "~ts", [Suite]),
     check("erlang:nodes()", on(Delta, erlang, nodes, []), [], "no distribution was used", [])].

handshake(true) -> "handshake resumed,";
handshake(false) -> "full handshake,".

failures_of_tls(Delta, Beta, Mallory, Nobody, #{foreign := Foreign, delta := Stolen}) ->
    title("what can go wrong with TLS"),
    To = fun(Way, Options) ->
             restart(Mallory, [{secret_cookie, ?COOKIE}, Way, {ssl_client_options, Options}]),
             rpc(Mallory, Beta, [erlang, node, []])
         end,
    TlsPort = maps:get(ssl, Beta),
    %% Over TLS 1.3 a client cannot open the alert that says why.
    Why = case on(Delta, negotiated, [maps:get(node, Beta)]) of
              #{version := 'tlsv1.2'} -> {alert, unknown_ca};
              #{version := 'tlsv1.3'} -> handshake_failed
          end,
    [check("mallory, of another CA", To(ways(ssl, [Beta]), Foreign), {badtcp, {tls, Why}},
           "though he knows the cookie now", []),
     check("mallory, as delta", To(ways(ssl, [Beta]), Stolen), {badtcp, {tls, name_refused}},
           "with a certificate that is not his", []),
     check("mallory, without TLS", To(ways(tcp, [Beta#{tcp := TlsPort}]), []), {badrpc, nodedown},
           "at the port for TLS", []),
     check("delta means nobody, gets beta", rpc(Delta, Nobody, [erlang, node, []]),
           {badtcp, {tls, wrong_name}}),
     check("delta and beta go on", rpc(Delta, Beta, [erlang, node, []]), maps:get(node, Beta))].

%% Ours and erpc in turn, so that a disturbance meets both. Erpc is without TLS all the time.
compare(Alpha, Delta, Beta) ->
    title("beside erpc over distribution, in turn, median of 3"),
    Node = maps:get(node, Beta),
    Connected = [on(From, net_kernel, connect_node, [Node]) || From <- [Alpha, Delta]],
    Check = check("distribution is up", Connected, [true, true], "from here on, for erpc", []),
    say("  ~-27ts~12ts~12ts~8ts~n", ["", "gen_rpc", "erpc", "ratio"]),
    Rate = fun(Callers) ->
               fun(From, With) -> on(From, rate, [With, Node, Callers, ?ROUND]) end
           end,
    Speed = fun(Size) -> fun(From, With) -> on(From, speed, [With, Node, Size]) end end,
    Beside = fun(From, With) ->
                 {{Times, 0}, {_, 0}} = on(From, beside, [With, Node, 50 * ?MB, ?ROUND]),
                 quantile(0.99, Times)
             end,
    [Check |
     [row(What, Unit, both(From, Measure))
      || {What, Unit, From, Measure} <-
             [{"64-byte calls, 1 caller", "calls/s", Alpha, Rate(1)},
              {"64-byte calls, 256 callers", "calls/s", Alpha, Rate(256)},
              {"  over TLS", "calls/s", Delta, Rate(256)},
              {"20 MB argument", "MB/s", Alpha, Speed(20 * ?MB)},
              {"50 MB argument", "MB/s", Alpha, Speed(50 * ?MB)},
              {"  over TLS", "MB/s", Delta, Speed(50 * ?MB)},
              {"64-byte calls beside 50 MB", "us p99, less is better", Alpha, Beside},
              {"  over TLS", "us p99", Delta, Beside}]]].

both(From, Measure) ->
    Pairs = [{Measure(From, gen_rpc), Measure(From, erpc)} || _ <- lists:seq(1, ?ROUNDS)],
    {Ours, Theirs} = lists:unzip(Pairs),
    {median(Ours), median(Theirs)}.

row(What, Unit, {Ours, Theirs}) ->
    say("  ~-27ts~12b~12b~8.2f  ~ts~n", [What, Ours, Theirs, Ours / max(1, Theirs), Unit]),
    Ours > 0 andalso Theirs > 0.

%%% Run on the nodes

echo(X) -> X.

%% How many processes there are more while they wait, and how many results are right.
async_calls(Node, Count) ->
    Node = gen_rpc:call(Node, erlang, node, []),
    Before = length(processes()),
    Keys = [gen_rpc:async_call(Node, ?MODULE, slow_echo, [I]) || I <- lists:seq(1, Count)],
    Processes = length(processes()) - Before,
    {Processes, length([I || {I, Key} <- lists:zip(lists:seq(1, Count), Keys),
                             gen_rpc:yield(Key) =:= I])}.

slow_echo(X) ->
    timer:sleep(100),
    X.

new_counter() -> persistent_term:put({?MODULE, counter}, counters:new(1, [])).

count() -> counters:add(persistent_term:get({?MODULE, counter}), 1, 1).

counted() -> counters:get(persistent_term:get({?MODULE, counter}), 1).

keep(Bin) ->
    ok = application:set_env(?MODULE, kept, Bin),
    byte_size(Bin).

kept() ->
    {ok, Bin} = application:get_env(?MODULE, kept),
    Bin.

kept_md5() -> erlang:md5(kept()).

%% A call that takes too long; then its reply comes, and must not be seen.
give_up(Node, Limit) ->
    {Time, Result} = timer:tc(fun() -> gen_rpc:call(Node, timer, sleep, [3 * Limit], Limit) end),
    timer:sleep(3 * Limit),
    {message_queue_len, Left} = process_info(self(), message_queue_len),
    {Result, Time div 1000, Left}.

cast_many(Node, Senders, Each) ->
    ok = gen_rpc:call(Node, ?MODULE, new_counter, []),
    Cast = fun() -> [true = gen_rpc:cast(Node, ?MODULE, count, []) || _ <- lists:seq(1, Each)] end,
    timer:tc(fun() ->
                 _ = in_parallel(Senders, Cast),
                 wait_for_count(Node, Senders * Each)
             end).

wait_for_count(Node, All) ->
    case gen_rpc:call(Node, ?MODULE, counted, []) of
        N when is_integer(N), N < All -> wait_for_count(Node, All);
        Other -> Other
    end.

%% The answers of that many callers to each destination, all at the same time.
many(Dests, Each, M, F, A, Limit) ->
    Callers = [async(fun() -> gen_rpc:call(Dest, M, F, A, Limit) end)
               || Dest <- Dests, _ <- lists:seq(1, Each)],
    [answers(Caller) || Caller <- Callers].

%% Calls at a node that has stopped, with a limit and without one, and fresh casts at it, none of
%% which waits, even for a new connection; and calls to another one, meanwhile.
flood(Node, Other, Casts, Size, Limit) ->
    Limited = async(fun() ->
                        timer:tc(fun() -> many([Node], 100, erlang, node, [], Limit) end)
                    end),
    Unlimited = async(fun() -> timer:tc(gen_rpc, call, [Node, erlang, node, [], infinity]) end),
    Others = async(fun() -> beside(gen_rpc, Other, 0, 2 * Limit) end),
    Before = memory(),
    Cast = fun(I) ->
               true = gen_rpc:cast(Node, ?MODULE, echo, [binary:copy(<<I:32>>, Size div 4)], 0),
               memory()
           end,
    Most = in_parallel(4, fun() -> lists:max([Cast(I) || I <- lists:seq(1, Casts div 4)]) end),
    #{casts_dropped := Dropped} = gen_rpc_counters:get(),
    {Small, _} = answers(Others),
    {lists:max(Most) - Before, Dropped, answers(Limited), answers(Unlimited), Small}.

%% MB that this node has of the machine.
memory() ->
    {ok, Status} = file:read_file("/proc/self/status"),
    {match, [KiB]} = re:run(Status, "VmRSS:\\s+(\\d+)", [{capture, all_but_first, list}]),
    list_to_integer(KiB) * 1024 div ?MB.

%% How many are here at this time.
gauged(Ms) ->
    ok = count(),
    Here = counted(),
    timer:sleep(Ms),
    ok = counters:sub(persistent_term:get({?MODULE, counter}), 1, 1),
    Here.

%% Calls of timer:sleep/1 that run here.
sleeping() ->
    length([P || P <- processes(),
                 process_info(P, current_function) =:= {current_function, {timer, sleep, 1}}]).

%% Starts a process of that name, which keeps what it is sent.
record(Name) -> register(Name, spawn(fun() -> recorder([]) end)).

recorder(Kept) ->
    receive
        {Sender, I, Bin} when is_pid(Sender) ->
            recorder([{Sender, I, Bin =:= numbered(I)} | Kept]);
        {recorded, From, N} when length(Kept) =:= N -> From ! {recorded, Kept}, recorder([]);
        hello -> recorder(Kept)
    end.

%% The numbers that came from each sender, if what came with them was right.
recorded(Name, N) ->
    Name ! {recorded, self(), N},
    Kept = receive {recorded, Last} -> lists:reverse(Last) end,
    [[I || {From, I, true} <- Kept, From =:= Sender]
     || Sender <- lists:usort([From || {From, _, _} <- Kept])].

numbered(I) ->
    binary:copy(<<I>>, element(1 + I rem 8, {20, 2000000, 20, 15000, 300, 100000, 20, 500000})).

%% All to all of the nodes; then what each has recorded.
in_turn(How, Nodes, Name, Senders, Each) ->
    Send = fun(I) -> send(How, I, Nodes, Name, {self(), I, numbered(I)}) end,
    timer:tc(fun() ->
                 _ = in_parallel(Senders, fun() -> lists:foreach(Send, lists:seq(1, Each)) end),
                 [gen_rpc:call(Node, ?MODULE, recorded, [Name, Senders * Each]) || Node <- Nodes]
             end).

send(ordered_cast, _I, Nodes, Name, Message) ->
    [true = gen_rpc:ordered_cast(Node, erlang, send, [Name, Message]) || Node <- Nodes];
send(broadcast, I, Nodes, Name, Message) when I rem 2 =:= 0 ->
    abcast = gen_rpc:abcast(Nodes, Name, Message);
send(broadcast, _I, Nodes, Name, Message) ->
    {Nodes, []} = gen_rpc:sbcast(Nodes, Name, Message).

%% How many lists of users arrived as they are, and the bytes that took.
sent(Node, Lists) ->
    Node = gen_rpc:call(Node, erlang, node, []),
    {ok, Port} = gen_rpc_registry:lookup(Node),
    #{bytes_out := Before} = gen_rpc_port:info(Port),
    Hash = fun(I) ->
               Users = [user(20 * I + J) || J <- lists:seq(1, 20)],
               gen_rpc:call(Node, erlang, phash2, [Users]) =:= erlang:phash2(Users)
           end,
    Right = [right || I <- lists:seq(1, Lists), Hash(I)],
    #{bytes_out := After} = gen_rpc_port:info(Port),
    {length(Right), After - Before}.

user(N) ->
    First = element(1 + N rem 5, {<<"Ada">>, <<"Edsger">>, <<"Grace">>, <<"Joe">>, <<"Robert">>}),
    #{id => N, name => First, email => iolist_to_binary([First, $., integer_to_list(N), "@a.org"]),
      joined => {{2020 + N rem 6, 1 + N rem 12, 1 + N rem 28}, {N rem 24, N rem 60, N rem 59}},
      roles => lists:sublist([reader, writer, admin], 1 + N rem 3), token => erlang:phash2(N)}.

%% What TLS a connection has.
negotiated(Dest) ->
    {ok, Port} = gen_rpc_registry:lookup(Dest),
    maps:get(tls, gen_rpc_port:info(Port)).

transfer(Node, Size) ->
    Bin = crypto:strong_rand_bytes(Size),
    {Up, Arrived} = timer:tc(fun() -> gen_rpc:call(Node, ?MODULE, keep, [Bin]) end),
    There = gen_rpc:call(Node, ?MODULE, kept_md5, []),
    {Down, Back} = timer:tc(fun() -> gen_rpc:call(Node, ?MODULE, kept, []) end),
    {Up, Down, Arrived, [erlang:md5(Bin), There, erlang:md5(Back)]}.

%% Calls a second.
rate(With, Node, Callers, Ms) ->
    Payload = binary:copy(<<"x">>, 64),
    Until = erlang:monotonic_time(millisecond) + Ms,
    Loop = fun() -> calls_until(Until, With, Node, Payload, 0) end,
    {Time, Counts} = timer:tc(fun() -> in_parallel(Callers, Loop) end),
    lists:sum(Counts) * 1000000 div Time.

calls_until(Until, With, Node, Payload, N) ->
    case erlang:monotonic_time(millisecond) < Until of
        true ->
            Payload = With:call(Node, ?MODULE, echo, [Payload]),
            calls_until(Until, With, Node, Payload, N + 1);
        false ->
            N
    end.

%% Small calls for some time, and beside them ones with an argument of that size, if it is not 0.
beside(With, Node, Size, Ms) ->
    Until = erlang:monotonic_time(millisecond) + Ms,
    {Payload, Bin} = {binary:copy(<<"x">>, 64), binary:copy(<<"x">>, Size)},
    Large = async(fun() ->
                      timed(Until, fun() -> Size =:= With:call(Node, erlang, byte_size, [Bin]) end)
                  end),
    Small = timed(Until, fun() -> Payload =:= With:call(Node, ?MODULE, echo, [Payload]) end),
    {Small, answers(Large)}.

timed(Until, Call) ->
    {Times, Right} = lists:unzip(timed(Until, Call, [])),
    {lists:sort(Times), length([wrong || false <- Right])}.

timed(Until, Call, Acc) ->
    case erlang:monotonic_time(millisecond) < Until of
        true -> timed(Until, Call, [timer:tc(Call) | Acc]);
        false -> Acc
    end.

%% MB a second of arguments of that size, one after the other.
speed(With, Node, Size) ->
    Bin = binary:copy(<<"x">>, Size),
    Times = 100 * ?MB div Size,
    Send = fun(_) -> Size = With:call(Node, erlang, byte_size, [Bin]) end,
    {Time, ok} = timer:tc(lists, foreach, [Send, lists:seq(1, Times)]),
    mb_per_s(Times * Size, Time).

in_parallel(N, Fun) ->
    [answers(Worker) || Worker <- [async(Fun) || _ <- lists:seq(1, N)]].

async(Fun) -> spawn_monitor(fun() -> exit({answers, Fun()}) end).

answers({Pid, Monitor}) ->
    receive
        {'DOWN', Monitor, process, Pid, {answers, Answers}} -> Answers;
        {'DOWN', Monitor, process, Pid, Reason} -> error(Reason)
    end.

%%% Nodes

%% The code of this file, for the nodes; and that of gen_rpc must be there.
code() ->
    File = escript:script_name(),
    Ebin = filename:join([filename:dirname(filename:dirname(filename:absname(File))),
                          "_build", "default", "lib", "gen_rpc", "ebin"]),
    filelib:is_regular(filename:join(Ebin, "gen_rpc.app"))
        orelse throw("gen_rpc is not built; run `make all` or `rebar3 compile` first"),
    {ok, Sections} = escript:extract(File, [compile_source]),
    {Ebin, proplists:get_value(source, Sections)}.

%% Distribution, for the comparison, needs no epmd: every node has an address of its own, and the
%% same port there.
start(Name, Ip, Cookie, {{Ebin, Beam}, DistPort}, Settings) ->
    Args = ["-setcookie", Cookie, "-pa", Ebin,
            "-start_epmd", "false", "-erl_epmd_port", integer_to_list(DistPort),
            "-kernel", "inet_dist_use_interface", io_lib:format("~w", [Ip]),
            %% Refusals are logged, and this shows them in its own way.
            "-kernel", "logger_level", "emergency"],
    {ok, Peer, Node} =
        peer:start(#{name => Name, host => inet:ntoa(Ip), longnames => true,
                     connection => standard_io, args => [lists:flatten(Arg) || Arg <- Args]}),
    T = #{peer => Peer, node => Node},
    {module, ?MODULE} = on(T, code, load_binary, [?MODULE, "demo.escript", Beam]),
    ok = on(T, application, load, [gen_rpc]),
    ok = run_gen_rpc(T, [{tcp_server_port, 0} | Settings]),
    Tls = [{ssl, on(T, gen_rpc_listener, port_number, [ssl])}
           || lists:keymember(ssl_server_port, 1, Settings)],
    maps:merge(T#{tcp => on(T, gen_rpc_listener, port_number, []), pid => on(T, os, getpid, [])},
               maps:from_list(Tls)).

%% With other settings.
restart(T, Settings) ->
    ok = on(T, application, stop, [gen_rpc]),
    run_gen_rpc(T, Settings).

%% With other settings for some time.
with(T, Settings, Fun) ->
    Before = [{Key, on(T, gen_rpc_config, get, [Key])} || {Key, _} <- Settings],
    ok = restart(T, Settings),
    Shown = Fun(),
    ok = restart(T, Before),
    Shown.

run_gen_rpc(T, Settings) ->
    lists:foreach(fun({Key, Value}) -> ok = on(T, application, set_env, [gen_rpc, Key, Value]) end,
                  Settings),
    {ok, _} = on(T, application, ensure_all_started, [gen_rpc]),
    ok.

%% The setting that says how to reach nodes: their ports for plain TCP or for TLS.
ways(Driver, Nodes) ->
    Ways = maps:from_list([{Node, {Driver, maps:get(Driver, T)}} || #{node := Node} = T <- Nodes]),
    {client_config_per_node, {internal, Ways}}.

introduce(#{node := Node, pid := Pid, tcp := Port} = T) ->
    Tls = case T of
              #{ssl := TlsPort} -> io_lib:format(", over TLS on ~b", [TlsPort]);
              #{} -> ""
          end,
    say("  ~-22s pid ~-8s gen_rpc on port ~b~ts~n", [Node, Pid, Port, Tls]).

name(#{node := Node}) -> hd(string:lexemes(atom_to_list(Node), "@")).

on(T, F, A) -> on(T, ?MODULE, F, A).

on(#{peer := Peer}, M, F, A) -> peer:call(Peer, M, F, A, ?CALL_LIMIT).

rpc(From, #{node := Node}, MFA) -> on(From, gen_rpc, call, [Node | MFA]).

kill(#{pid := Pid}) ->
    [] = os:cmd("kill -KILL " ++ Pid),
    ok.

%% All threads of it, until released.
stop(#{pid := Pid}) ->
    Running = "grep -qs '^State:.[^T]' /proc/" ++ Pid ++ "/task/*/status",
    {Keeper, "stopped"} = keeper("kill -STOP " ++ Pid ++ " && while " ++ Running ++ "; do :; done; "
                                 "echo stopped", "kill -CONT " ++ Pid),
    Keeper.

free_port() ->
    {ok, Socket} = gen_tcp:listen(0, []),
    {ok, Port} = inet:port(Socket),
    ok = gen_tcp:close(Socket),
    Port.

until(Condition) ->
    case Condition() of
        true -> ok;
        false -> timer:sleep(10), until(Condition)
    end.

%%% What must not be left behind

%% A shell that does one thing now and says a line of it, and another when this ends, however it
%% does, or releases it.
keeper(Now, AtEnd) ->
    Script = "trap '' INT TERM HUP; " ++ Now ++ " && read -r _; " ++ AtEnd,
    Keeper = open_port({spawn_executable, "/bin/sh"},
                       [{args, ["-c", Script]}, {line, 4096}, exit_status]),
    receive
        {Keeper, {data, {eol, Line}}} -> {Keeper, Line};
        {Keeper, {exit_status, _}} -> throw("this does not work: " ++ Now)
    end.

release(Keeper) ->
    true = port_command(Keeper, "\n"),
    receive {Keeper, {exit_status, _}} -> ok end.

%% A new directory, and its keeper.
directory() ->
    keeper("dir=$(mktemp -d) && echo \"$dir\"", "rm -rf \"$dir\"").

%%% Certificates

%% Options of TLS. Mallory's certificate is by a CA of his own.
certificates(Dir) ->
    [Ours, His] = [filename:join(Dir, Ca) || Ca <- ["ours", "his"]],
    {Beta, Delta, Mallory} = {"beta@127.0.0.2", "delta@127.0.0.5", "mallory@127.0.0.4"},
    ok = make_certs([Ours, Beta, Delta]),
    ok = make_certs([His, Mallory]),
    Options = fun(By, Node) ->
                  [{certfile, filename:join(By, Node ++ ".pem")},
                   {keyfile, filename:join(By, Node ++ ".key")},
                   {cacertfile, filename:join(Ours, "ca.pem")}]
              end,
    #{beta => Options(Ours, Beta), delta => Options(Ours, Delta), foreign => Options(His, Mallory)}.

make_certs(Args) ->
    Script = filename:join(filename:dirname(filename:absname(escript:script_name())), "make-certs"),
    Port = open_port({spawn_executable, Script}, [{args, Args}, exit_status, stderr_to_stdout]),
    case output(Port, []) of
        {0, _} -> ok;
        {_, Text} -> throw(string:trim(Text))
    end.

output(Port, Acc) ->
    receive
        {Port, {data, Data}} -> output(Port, [Acc | Data]);
        {Port, {exit_status, Status}} -> {Status, lists:flatten(Acc)}
    end.

%%% Output

title(Title) -> say("~n~ts~n", [bold(Title)]).

check(What, Got, Expected) -> check(What, Got, Expected, "", []).

check(What, Got, Expected, Note, Args) -> check(What, Got, Expected, Note, Args, true).

check(What, Got, Expected, Note, Args, More) ->
    Ok = Got =:= Expected andalso More,
    Mark = case Ok of true -> "ok  "; false -> "FAIL" end,
    Line = io_lib:format("  ~ts  ~-29ts ~-34ts ~ts",
                         [Mark, What, io_lib:format("~0tp", [Got]), io_lib:format(Note, Args)]),
    say("~ts~n", [string:trim(Line, trailing)]),
    Ok orelse Got =:= Expected orelse say("        expected: ~0tp~n", [Expected]),
    Ok.

%% The stack differs with the release; that there is one is enough here.
cut({badrpc, {'EXIT', {Reason, [_ | _]}}}) -> {badrpc, {'EXIT', {Reason, '[...]'}}};
cut(Other) -> Other.

all_equal([First | Rest]) -> lists:all(fun(Other) -> Other =:= First end, Rest).

unzip4(List) ->
    {[A || {A, _, _, _} <- List], [B || {_, B, _, _} <- List],
     [C || {_, _, C, _} <- List], [D || {_, _, _, D} <- List]}.

median(List) -> lists:nth((length(List) + 1) div 2, lists:sort(List)).

quantile(_, []) -> 0;
quantile(Q, Sorted) -> lists:nth(ceil(Q * length(Sorted)), Sorted).

mb_per_s(Bytes, Micros) -> Bytes div max(1, Micros).

bold(Text) ->
    case io:columns() of
        {ok, _} -> ["\e[1m", Text, "\e[0m"];
        _ -> Text
    end.

say(Format, Args) -> io:format(Format, Args).

-spec fail(iodata()) -> no_return().
fail(Reason) ->
    say("~nThe demo failed: ~ts.~n", [Reason]),
    halt(1).
