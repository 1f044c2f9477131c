%% SPDX-License-Identifier: Apache-2.0
%% Compression on real nodes: results are the same, fewer bytes are sent where that is possible, and
%% not more where it is not. Each side compresses what it sends, whatever the other one does.
-module(gen_rpc_compress_SUITE).

-behaviour(ct_suite).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, groups/0, init_per_suite/1, end_per_suite/1,
         init_per_group/2, end_per_group/2, init_per_testcase/2, end_per_testcase/2]).
-export([all_settings/1, fewer_bytes/1, each_side_for_itself/1, not_compressible/1,
         threshold/1, context_pays/1, context_and_gaps/1, random_terms/1, many_callers/1,
         ordered/1, broadcasts/1, large_ones/1, given_up/1, stopped_peer/1, fair/1, sizes/1,
         memory/1, invalid_settings/1]).

-import(gen_rpc_test_node, [run/2, wait/1]).
-import(gen_rpc_test_flow, [restart/3, restart_with_valve/3, set/3, passed/2, at_once/2, echo/2,
                            port_of/2, connection/2, counter/2, mailbox/0, noted/1,
                            forget/1, watch/1, watched/1]).

%% Longer than any test: a wait with this limit ends for another reason, or not at all.
-define(LONG, 60000).

-define(MIB, (1024 * 1024)).

%% Bytes of an empty request and its reply, and what else a message may have around it.
-define(AROUND, 200).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [{group, tcp}, {group, tls}].

groups() ->
    Both = [all_settings, fewer_bytes, not_compressible, context_pays, random_terms, many_callers,
            ordered, large_ones, given_up],
    [{tcp, [], Both ++ [each_side_for_itself, threshold, context_and_gaps, broadcasts, stopped_peer,
                        fair, sizes, memory, invalid_settings]},
     {tls, [], Both}].

init_per_suite(Config) -> gen_rpc_test_flow:start(Config).

end_per_suite(Config) -> gen_rpc_test_flow:stop(Config).

init_per_group(tls, Config) -> [{transport, ssl} | Config];
init_per_group(_Group, Config) -> Config.

end_per_group(_Group, _Config) -> ok.

init_per_testcase(_Case, Config) -> Config.

end_per_testcase(_Case, Config) -> gen_rpc_test_flow:finish(Config).

%%% Settings

%% Whatever both sides are set to, what comes out is what went in.
all_settings(Config) ->
    Settings = [[], [{compress, 1}], [{compress, 6}], [{compress, 9}, {compress_context, true}],
                [{compress, 1}, {compress_context, true}, {compression_threshold, 1}]],
    [begin
         {Client, #{node := Node}} = restart(Config, ClientSettings, ServerSettings),
         Wrong = run(Client, fun() ->
                                     Terms = terms() ++ terms(),
                                     [{ClientSettings, ServerSettings, N}
                                      || {N, Term} <- lists:zip(lists:seq(1, 24), Terms),
                                         not round_trip(Node, Term)]
                             end),
         ?assertEqual([], Wrong)
     end || ClientSettings <- Settings, ServerSettings <- Settings].

%% Not made where the tests run: the way to the nodes is not made for so much.
terms() ->
    [a, <<>>, text(100), text(2000), text(16000), text(17000), text(100000), records(10),
     crypto:strong_rand_bytes(16000), crypto:strong_rand_bytes(300000),
     binary:copy(<<0>>, ?MIB), records(2000)].

%% Words that repeat themselves here and there, as text does.
text(Size) ->
    text(Size, 1, []).

text(Size, _Seed, Acc) when Size =< 0 ->
    iolist_to_binary(Acc);
text(Size, Seed, Acc) ->
    Words = {<<"connection ">>, <<"lane ">>, <<"window ">>, <<"of ">>, <<"the ">>, <<"sender ">>,
             <<"bytes ">>, <<"worker ">>, <<"is ">>, <<"bounded ">>, <<"by ">>, <<"time ">>},
    Next = (Seed * 1103515245 + 12345) band 16#7fffffff,
    Word = element(1 + (Next bsr 16) rem tuple_size(Words), Words),
    text(Size - byte_size(Word), Next, [Word | Acc]).

%% What a program might send.
records(N) ->
    [#{id => I, name => <<"user", (integer_to_binary(I))/binary>>, active => I rem 3 =:= 0,
       tags => [tag, I rem 7], address => {<<"Main street">>, I * 31 rem 1000}}
     || I <- lists:seq(1, N)].

%% What is compressible takes a fraction of its bytes, in both directions, and the counters say so.
fewer_bytes(Config) ->
    [begin
         {Client, #{node := Node} = Server} =
             restart(Config, [{compress, Level}], [{compress, Level}]),
         Node = echo(Client, Node),
         Terms = [text(5000), text(15000), text(200000), records(100), records(3000)],
         [begin
              Size = byte_size(term_to_binary(Term)),
              {Out, In} = bytes(Client, Node, fun() -> same(Node, Term) end),
              ?assert(Out < Size div 2 + ?AROUND, {Level, Size, Out}),
              ?assert(In < Size div 2 + ?AROUND, {Level, Size, In})
          end || Term <- Terms],
         [begin
              In = counter(N, deflate_in),
              ?assert(counter(N, deflate_out) < In div 2),
              ?assert(In >= lists:sum([byte_size(term_to_binary(Term)) || Term <- Terms]))
          end || N <- [Client, Server]]
     end || Level <- [1, 6, 9]].

same(Dest, Term) ->
    Term = gen_rpc:call(Dest, gen_rpc_test_target, echo, [Term], ?LONG),
    ok.

%% Sent and received while it runs on the client.
bytes(Client, Dest, Fun) ->
    #{bytes_out := Out, bytes_in := In} = connection(Client, Dest),
    ok = run(Client, Fun),
    #{bytes_out := Out1, bytes_in := In1} = connection(Client, Dest),
    {Out1 - Out, In1 - In}.

%% The client's setting is for requests, the server's for replies.
each_side_for_itself(Config) ->
    Term = text(100000),
    [begin
         {Client, #{node := Node}} = restart(Config, [{compress, C}], [{compress, S}]),
         Node = echo(Client, Node),
         {Out, In} = bytes(Client, Node, fun() -> same(Node, Term) end),
         ?assertEqual({C, S, C > 0, S > 0}, {C, S, Out < 50000, In < 50000})
     end || {C, S} <- [{0, 0}, {6, 0}, {0, 6}, {1, 9}]].

%% What can't be compressed takes hardly more bytes than it has, and is not tried again and again.
not_compressible(Config) ->
    [begin
         {Client, #{node := Node} = Server} =
             restart(Config, [{compress, 6}, {compress_context, Context}],
                     [{compress, 6}, {compress_context, Context}]),
         Node = echo(Client, Node),
         [begin
              N = max(1, 500000 div Size),
              {Out, In} = bytes(Client, Node,
                                fun() ->
                                        _ = [same(Node, crypto:strong_rand_bytes(Size))
                                             || _ <- lists:seq(1, N)],
                                        ok
                                end),
              Most = N * (Size + ?AROUND + Size div 100),
              ?assert(Out =< Most, {Context, Size, Out / N}),
              ?assert(In =< Most, {Context, Size, In / N})
          end || Size <- [1100, 5000, 8100, 15000, 17000, 100000, 3 * ?MIB]],
         [?assert(counter(Node1, deflate_out) =< counter(Node1, deflate_in) * 102 div 100)
          || Node1 <- [Client, Server]]
     end || Context <- [false, true]].

%% Below it nothing is compressed; from it on what is.
threshold(Config) ->
    {Client, #{node := Node}} = restart(Config, [{compress, 6}, {compression_threshold, 3000}], []),
    Node = echo(Client, Node),
    Call = fun(Size) ->
                   {Out, _} = bytes(Client, Node,
                                    fun() ->
                                            Size = gen_rpc:call(Node, erlang, byte_size,
                                                                [binary:copy(<<"x">>, Size)]),
                                            ok
                                    end),
                   Out
           end,
    ?assert(Call(2900) > 2900),
    ?assertEqual(0, maps:get(deflate_in, connection(Client, Node))),
    ?assert(Call(3000) < 300),
    ?assert(maps:get(deflate_in, connection(Client, Node)) > 3000),
    ?assert(Call(20000) < 600).

%%% Context

%% Small messages that are alike take several times fewer bytes when they refer to each other.
context_pays(Config) ->
    [Alone, Together] =
        [begin
             Settings = [{compress, 6}, {compression_threshold, 50}, {compress_context, Context}],
             {Client, #{node := Node}} = restart(Config, Settings, Settings),
             Node = echo(Client, Node),
             bytes(Client, Node,
                   fun() ->
                           [ok = same(Node, Record) || Record <- records(1000)],
                           ok
                   end)
         end || Context <- [false, true]],
    ct:pal("bytes out and in of 1000 small messages: ~p, with a context: ~p", [Alone, Together]),
    [?assert(element(I, Together) < element(I, Alone) div 2, {Alone, Together}) || I <- [1, 2]].

%% Messages that do not use the context come between those that do, in every order: too small, too
%% large, ordered, in fragments, not compressible; from many processes at once.
context_and_gaps(Config) ->
    Settings = [{compress, 6}, {compression_threshold, 100}, {compress_context, true}],
    {Client, #{node := Node} = Server} = restart(Config, Settings, Settings),
    ok = forget(Server),
    Terms = list_to_tuple([records(3), a, crypto:strong_rand_bytes(2000), text(7900), text(8100),
                           text(12000), text(16300), text(100000), records(1), records(60),
                           crypto:strong_rand_bytes(7000), binary:copy(<<"y">>, 8000)]),
    N = tuple_size(Terms),
    Wrong = run(Client, fun() ->
                                Term = fun(P, I) -> element(1 + (P * I) rem N, Terms) end,
                                lists:append(
                                  at_once(20, fun(P) ->
                                                      [I || I <- lists:seq(1, 100),
                                                            not gap(Node, P, I, Term(P, I))]
                                              end))
                        end),
    ?assertEqual([], Wrong),
    wait(fun() -> length(noted(Server)) >= 20 * 40 end),
    ?assertEqual(20 * 40, length(lists:usort(noted(Server)))).

gap(Dest, P, I, Term) ->
    case I rem 5 of
        0 -> gen_rpc:cast(Dest, gen_rpc_test_flow, note, [{P, I}, Term]);
        1 -> gen_rpc:ordered_cast(Dest, gen_rpc_test_flow, note, [{P, I}, Term]);
        _ -> Term =:= gen_rpc:call(Dest, gen_rpc_test_target, echo, [Term], ?LONG)
    end.

%%% All kinds of messages

%% Random terms of all kinds come back as they were. The seed is in the log.
random_terms(Config) ->
    Seed = erlang:unique_integer([positive]) + erlang:system_time(second) * 1000,
    ct:pal("seed: ~p", [Seed]),
    [begin
         {Client, #{node := Node}} = restart(Config, Settings, Settings),
         Wrong = run(Client, fun() ->
                                     _ = rand:seed(exsss, Seed),
                                     [I || I <- lists:seq(1, 300), not round_trip(Node, term(6))]
                             end),
         ?assertEqual({Seed, Settings, []}, {Seed, Settings, Wrong})
     end || Settings <- [[{compress, 6}, {compression_threshold, 1}],
                         [{compress, 1}, {compression_threshold, 200}, {compress_context, true}],
                         [{compress, 9}, {compression_threshold, 20}, {compress_context, true}]]].

round_trip(Dest, Term) ->
    Term =:= gen_rpc:call(Dest, gen_rpc_test_target, echo, [Term], ?LONG).

term(0) ->
    case rand:uniform(8) of
        1 -> rand:uniform(1 bsl 70) - 1 bsl 69;
        2 -> rand:normal();
        3 -> lists:nth(rand:uniform(4), [atom, '', undefined, 'some longer one']);
        4 -> rand:bytes(rand:uniform(3000) - 1);
        5 -> text(rand:uniform(3000));
        6 -> binary:copy(rand:bytes(rand:uniform(20)), rand:uniform(rand:uniform(3000)));
        7 -> lists:seq(1, rand:uniform(500));
        8 -> <<(rand:uniform(8)):3, 1:1>>
    end;
term(Depth) ->
    N = rand:uniform(4),
    case rand:uniform(5) of
        1 -> term(0);
        2 -> [term(Depth - 1) || _ <- lists:seq(1, N)];
        3 -> list_to_tuple([term(Depth - 1) || _ <- lists:seq(1, N)]);
        4 -> maps:from_list([{term(0), term(Depth - 1)} || _ <- lists:seq(1, N)]);
        5 -> [term(Depth - 1) | term(0)]
    end.

%% Many callers at once with messages of all sizes get their own results.
many_callers(Config) ->
    Settings = [{compress, 3}, {compression_threshold, 200}, {compress_context, true}],
    {Client, #{node := Node}} = restart(Config, Settings, Settings),
    Results = run(Client, fun() ->
                                  at_once(50, fun(P) ->
                                                      [{P, I} || I <- lists:seq(1, 20),
                                                                 not round_trip(Node, mix(P, I))]
                                              end)
                          end),
    ?assertEqual([], lists:append(Results)).

mix(P, I) ->
    {P, I, case (P + I) rem 5 of
               0 -> records(I);
               1 -> text(P * I * 10);
               2 -> crypto:strong_rand_bytes(P * I);
               3 -> binary:copy(<<P, I>>, P * 1000);
               4 -> none
           end}.

%% Ordered casts keep their order, with whatever size and however long it takes to compress.
ordered(Config) ->
    Settings = [{compress, 9}, {compression_threshold, 100}, {compress_context, true},
                {send_timeout, ?LONG}],
    {Client, #{node := Node} = Server} = restart(Config, Settings, Settings),
    ok = forget(Server),
    _ = run(Client, fun() ->
                            [true = gen_rpc:ordered_cast(Node, gen_rpc_test_flow, note,
                                                         [I, ordered_luggage(I)])
                             || I <- lists:seq(1, 200)]
                    end),
    wait(fun() -> length(noted(Server)) >= 200 end),
    ?assertEqual(lists:seq(1, 200), noted(Server)),
    #{deflate_in := In, deflate_out := Out} = connection(Client, Node),
    ?assert(Out < In),
    %% The window is counted alike on both sides, so it does not run dry.
    _ = run(Client, fun() ->
                            [true = gen_rpc:ordered_cast(Node, gen_rpc_test_flow, note,
                                                         [I, binary:copy(<<"x">>, 100000)])
                             || I <- lists:seq(201, 300)]
                    end),
    wait(fun() -> length(noted(Server)) >= 300 end),
    ?assertEqual(lists:seq(1, 300), noted(Server)).

ordered_luggage(I) ->
    case I rem 4 of
        0 -> text(I * 100);
        1 -> crypto:strong_rand_bytes(I * 100);
        2 -> binary:copy(<<I>>, I * 2000);
        3 -> none
    end.

%% So do messages to registered processes, and those who send them hear that they are there.
broadcasts(Config) ->
    Settings = [{compress, 6}, {compression_threshold, 50}, {compress_context, true}],
    {Client, #{node := Node} = Server} = restart(Config, Settings, Settings),
    Messages = [{I, ordered_luggage(I)} || I <- lists:seq(1, 100)],
    Collector = run(Server, fun() -> start_collector() end),
    run(Client, fun() ->
                        [case I rem 2 of
                             0 -> abcast = gen_rpc:abcast([Node], gen_rpc_test_compressed, Message);
                             1 -> {[Node], []} = gen_rpc:sbcast([Node], gen_rpc_test_compressed,
                                                                Message)
                         end || {I, _} = Message <- Messages],
                        {[Node], []} = gen_rpc:sbcast([Node], gen_rpc_test_compressed, last),
                        [] = mailbox()
                end),
    Got = run(Server, fun() ->
                              Collector ! {all, self()},
                              receive {all, Collector, All} -> All end
                      end),
    ?assert(Messages ++ [last] =:= Got).

start_collector() ->
    Self = self(),
    Pid = spawn(fun() ->
                        true = register(gen_rpc_test_compressed, self()),
                        Self ! {self(), ready},
                        receive {all, From} -> From ! {all, self(), mailbox()} end
                end),
    receive {Pid, ready} -> Pid end.

%% Large ones arrive whole, alone and several at once; small calls go on beside them.
large_ones(Config) ->
    {Client, #{node := Node}} = restart(Config, [{compress, 1}], [{compress, 1}]),
    Node = echo(Client, Node),
    Terms = [fun() -> binary:copy(<<0>>, 20 * ?MIB) end, fun() -> text(2 * ?MIB) end,
             fun() -> crypto:strong_rand_bytes(10 * ?MIB) end, fun() -> records(20000) end],
    Large = gen_rpc_test_task:start(
              length(Terms), fun(I) ->
                                     Term = lists:nth(I, Terms),
                                     run(Client, fun() -> round_trip(Node, Term()) end)
                             end),
    Small = run(Client, fun() -> [round_trip(Node, I) || I <- lists:seq(1, 200)] end),
    ?assertEqual([true], lists:usort(Small)),
    ?assertEqual([true, true, true, true], gen_rpc_test_task:results(Large)).

%% Those that are given up in the middle of being compressed leave the connection as it was.
given_up(Config) ->
    Settings = [{compress, 6}, {compress_context, true}],
    {Client, #{node := Node} = Server} = restart(Config, Settings, Settings),
    Node = echo(Client, Node),
    Port = port_of(Client, Node),
    Results = run(Client, fun() ->
                                  Text = text(2 * ?MIB),
                                  at_once(40, fun(P) ->
                                                      [give_up(Node, P, T, Text)
                                                       || T <- [1, 10, 30, 5 * P]]
                                              end)
                          end),
    ?assertEqual([right], lists:usort(lists:append(Results))),
    %% More at once than there are slots and streams.
    ?assertEqual(lists:duplicate(100, true),
                 run(Client, fun() ->
                                     at_once(100, fun(P) ->
                                                          Term = {P, binary:copy(<<P>>, 50000)},
                                                          round_trip(Node, Term)
                                                  end)
                             end)),
    wait(fun() -> maps:get(calls, connection(Client, Node)) =:= 0 end),
    ?assertEqual(counter(Client, aborted) > 0, counter(Server, aborted) > 0),
    ?assertEqual(Port, port_of(Client, Node)).

give_up(Dest, P, Timeout, Text) ->
    case gen_rpc:call(Dest, erlang, phash2, [{P, Text}], Timeout, ?LONG) of
        {badrpc, timeout} -> right;
        N when is_integer(N) -> case erlang:phash2({P, Text}) of N -> right; M -> {wrong, N, M} end;
        Wrong -> {wrong, Wrong}
    end.

%% A stopped peer costs no more memory than without compression.
stopped_peer(Config) ->
    Settings = [{compress, 6}, {compress_context, true}, {send_timeout, ?LONG},
                {cast_overload_policy, drop}],
    {Client, #{node := Node} = Server} = restart(Config, Settings, Settings),
    ok = forget(Server),
    Node = echo(Client, Node),
    Frozen = gen_rpc_test_node:freeze(Server),
    Text = text(100000),
    Part = fun(I) -> binary:copy(binary:part(Text, 0, I * 7919 rem 100000)) end,
    N = 3000,
    Grown = try
                ok = watch(Client),
                _ = run(Client, fun() ->
                                        [true = gen_rpc:cast(Node, gen_rpc_test_flow, note,
                                                             [I, Part(I)])
                                         || I <- lists:seq(1, N)]
                                end),
                watched(Client)
            after
                gen_rpc_test_node:thaw(Frozen)
            end,
    ct:pal("grown: ~p", [Grown]),
    ?assertMatch(#{rss := Rss} when Rss =< 32 * ?MIB, Grown),
    Node = echo(Client, Node),
    wait(fun() -> length(noted(Server)) + counter(Client, casts_dropped) =:= N end),
    ?assertEqual(length(noted(Server)), length(lists:usort(noted(Server)))).

%% Small calls return while a large argument is being compressed and sent.
fair(Config) ->
    {Client, #{node := Node}, Valve} = restart_with_valve(Config, [{compress, 1}], []),
    Node = echo(Client, Node),
    ok = set(Valve, to_server, 8192),
    Size = 30 * ?MIB,
    Large = gen_rpc_test_task:start(
              fun() ->
                      run(Client, fun() ->
                                          Bytes = crypto:strong_rand_bytes(Size),
                                          gen_rpc:call(Node, erlang, byte_size, [Bytes], ?LONG,
                                                       ?LONG)
                                  end)
              end),
    wait(fun() -> passed(Valve, to_server) > 500000 end),
    Small = run(Client, fun() ->
                                at_once(20, fun(P) ->
                                                    [round_trip(Node, {P, I})
                                                     || I <- lists:seq(1, 10)]
                                            end)
                        end),
    ?assertEqual([true], lists:usort(lists:append(Small))),
    ?assert(gen_rpc_test_task:is_running(Large)),
    ok = set(Valve, to_server, free),
    ?assertEqual(Size, gen_rpc_test_task:result(Large)),
    ok = gen_rpc_test_flow:stop_valve(Valve).

%% Around every size at which something changes.
sizes(Config) ->
    [begin
         {Client, #{node := Node}} =
             restart(Config, [{compress, 6} | Context], [{compress, 6} | Context]),
         Wrong = run(Client, fun() ->
                                     [Size || Around <- [1024, 8192, 16384, 32768, 65536, 131072],
                                              Size <- lists:seq(Around - 60, Around + 20, 3),
                                              Bytes <- [binary:copy(<<"z">>, Size),
                                                        crypto:strong_rand_bytes(Size)],
                                              not round_trip(Node, Bytes)]
                             end),
         ?assertEqual([], Wrong)
     end || Context <- [[], [{compress_context, true}]]].

%% Connections that compress give back what they took for it when they end.
memory(Config) ->
    Settings = [{compress, 6}, {compress_context, true}],
    {Client, #{node := Node} = Server} = restart(Config, Settings, Settings),
    Use = fun(Key) ->
                  run(Client, fun() ->
                                      true = round_trip({Node, Key}, text(4000)),
                                      true = round_trip({Node, Key}, text(100000)),
                                      {ok, Port} = gen_rpc_registry:lookup({Node, Key}),
                                      exit(Port, kill)
                              end),
                  wait(fun() -> gen_rpc_test_node:acceptors(Server) =:= [] andalso
                                    port_of(Client, {Node, Key}) =:= none
                       end)
          end,
    _ = [Use(I) || I <- lists:seq(1, 5)],
    Before = [gen_rpc_test_node:driver_memory(N) || N <- [Client, Server]],
    _ = [Use(I) || I <- lists:seq(1, 50)],
    [wait(fun() -> gen_rpc_test_node:driver_memory(N) < B + ?MIB end)
     || {N, B} <- lists:zip([Client, Server], Before)].

%% What is no level, threshold or switch: the application does not start.
invalid_settings(Config) ->
    gen_rpc_test_flow:refuse(Config, [{compress, [-1, 10, true, "6"]},
                                      {compression_threshold, [0, -1, 16#100000000, infinity]},
                                      {compress_context, [1, undefined]}]).
