%% SPDX-License-Identifier: Apache-2.0
%% Rounds and medians. Both sides take turns, and who begins alternates, so that what else happens
%% on the machine hits both alike; ratios are taken within a round, then their median.
-module(gen_rpc_bench_rounds).

-export([versus/2, alone/2, median/1]).

-type figures() :: #{atom() => number()}.

%% Figures of gen_rpc and erpc for each round, after a round that does not count.
-spec versus(pos_integer(), fun((gen_rpc_bench_load:via()) -> figures())) ->
          [{Ours :: figures(), Erpc :: figures()}].
versus(Rounds, Measure) ->
    _ = [Measure(Via) || Via <- [gen_rpc, erpc]],
    [versus_once(N, Measure) || N <- lists:seq(1, Rounds)].

versus_once(N, Measure) when N rem 2 =:= 1 ->
    Ours = Measure(gen_rpc),
    {Ours, Measure(erpc)};
versus_once(_, Measure) ->
    Erpc = Measure(erpc),
    {Measure(gen_rpc), Erpc}.

-spec alone(pos_integer(), fun(() -> T)) -> [T].
alone(Rounds, Measure) ->
    _ = Measure(),
    [Measure() || _ <- lists:seq(1, Rounds)].

-spec median([number(), ...]) -> number().
median(Numbers) ->
    Sorted = lists:sort(Numbers),
    Half = length(Sorted) div 2,
    case length(Sorted) rem 2 of
        1 -> lists:nth(Half + 1, Sorted);
        0 -> (lists:nth(Half, Sorted) + lists:nth(Half + 1, Sorted)) / 2
    end.
