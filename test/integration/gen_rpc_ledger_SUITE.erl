%% SPDX-License-Identifier: Apache-2.0
%% Calls with unique numbers between NODES sites, CALLS of them, under all faults at random. Then the
%% ledgers of callers and servers must agree. SEED repeats the order of the faults.
-module(gen_rpc_ledger_SUITE).

-behaviour(ct_suite).

-include_lib("stdlib/include/assert.hrl").

-export([suite/0, all/0, init_per_suite/1, end_per_suite/1]).
-export([ledgers_agree/1]).

suite() ->
    [{timetrap, {hours, 2}}].

all() ->
    [ledgers_agree].

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

ledgers_agree(Config) ->
    {seed, Seed} = lists:keyfind(seed, 1, Config),
    io:format(user, "~nseed ~b~n", [Seed]),
    Options = #{sites => proplists:get_value(sites, Config),
                calls => proplists:get_value(calls, Config), seed => Seed,
                dir => filename:join(proplists:get_value(priv_dir, Config), "ledger")},
    Result = gen_rpc_test_storm:run(Options),
    io:format(user, "~n~ts", [gen_rpc_test_books:format(Result)]),
    ?assertEqual([], maps:get(wrong, Result)).
