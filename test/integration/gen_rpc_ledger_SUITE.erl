%% SPDX-License-Identifier: Apache-2.0
%% Calls with unique numbers between NODES sites, CALLS of them, under all faults at random. Then
%% the ledgers of callers and servers must agree. SEED repeats the order of the faults.
-module(gen_rpc_ledger_SUITE).

-behaviour(ct_suite).

-include_lib("stdlib/include/assert.hrl").

-export([suite/0, all/0, init_per_suite/1, end_per_suite/1]).
-export([mistakes_are_found/1, ledgers_agree/1]).

suite() ->
    [{timetrap, {hours, 2}}].

all() ->
    [mistakes_are_found, ledgers_agree].

init_per_suite(Config) ->
    N = number("NODES", 5),
    Seed = number("SEED", erlang:system_time(second)),
    ok = gen_rpc_test_net:create(N),
    [{sites, N}, {calls, number("CALLS", 1000000)}, {seed, Seed} | Config].

end_per_suite(Config) ->
    gen_rpc_test_net:destroy(proplists:get_value(sites, Config)).

number(Variable, Default) ->
    case os:getenv(Variable, "") of
        "" -> Default;
        Text -> list_to_integer(Text)
    end.

%%% The test

%% Each way in which ledgers can differ, in forged ones of a caller on site 1 and a server, site 2.
mistakes_are_found(Config) ->
    Call = forged(call, 0, true),
    Cast = forged(cast, 0, true),
    Lost = forged(cast, 0, false),
    Ordered = [forged(ordered_cast, Seq, true) || Seq <- [0, 1]],
    Cases = [{[], [{Call, value}], [Call]},
             {[], [{Lost, sent}], []},
             {[{value, not_run}], [{Call, value}], []},
             {[ran_twice], [{Call, value}], [Call, Call]},
             {[ran_twice], [{Cast, sent}], [Cast, Cast]},
             {[{sent, not_run}], [{Cast, sent}], []},
             {[{nodedown, ran}], [{forged(call, 0, false), nodedown}], [forged(call, 0, false)]},
             {[{wrong_value, ran}], [{Call, wrong_value}], [Call]},
             {[{stray_message, ran}], [{Call, stray_message}], [Call]},
             {[out_of_order], [{Number, sent} || Number <- Ordered], lists:reverse(Ordered)},
             {[not_next], [{forged(call, 1, true), value}], [forged(call, 1, true)]},
             {[never_called], [], [Call]}],
    [begin
         Dir = filename:join([proplists:get_value(priv_dir, Config), "forged", integer_to_list(I)]),
         ok = filelib:ensure_path(Dir),
         ok = file:write_file(filename:join(Dir, "1.0.called"),
                              [gen_rpc_test_ledger:called(Number, 2, Outcome)
                               || {Number, Outcome} <- Called]),
         ok = file:write_file(filename:join(Dir, "2.0.served"),
                              [<<Number:64>> || Number <- Served]),
         #{wrong := Wrong} = gen_rpc_test_books:check(Dir, []),
         ?assertEqual({I, Expected}, {I, [kind(What) || What <- Wrong]})
     end || {I, {Expected, Called, Served}} <- lists:zip(lists:seq(1, length(Cases)), Cases)].

forged(Kind, Seq, Calm) ->
    gen_rpc_test_ledger:number(#{site => 1, life => 0, caller => 0, calm => Calm, kind => Kind,
                                 seq => Seq}).

kind({What, _Number}) -> What;
kind({Outcome, Did, _Number}) -> {Outcome, Did}.

ledgers_agree(Config) ->
    {seed, Seed} = lists:keyfind(seed, 1, Config),
    io:format(user, "~nseed ~b~n", [Seed]),
    Options = #{sites => proplists:get_value(sites, Config),
                calls => proplists:get_value(calls, Config), seed => Seed,
                dir => filename:join(proplists:get_value(priv_dir, Config), "ledger")},
    Result = gen_rpc_test_storm:run(Options),
    io:format(user, "~n~ts", [gen_rpc_test_books:format(Result)]),
    ?assertEqual([], maps:get(wrong, Result)).
