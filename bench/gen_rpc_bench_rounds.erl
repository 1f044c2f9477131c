%% SPDX-License-Identifier: Apache-2.0
%% Rounds and medians. All sides take turns, and who begins alternates, so that what else happens on
%% the machine hits all alike; ratios are taken within a round, then their median.
-module(gen_rpc_bench_rounds).

-export([all/3, median/1]).

-type side() :: gen_rpc | erpc | ssl | limit | plain.
-type figures() :: #{atom() => number()}.
-type round() :: #{side() => figures()}.
-export_type([side/0, round/0]).

%% Figures of these sides for each round, after a round that does not count.
-spec all(pos_integer(), [side()], fun((side()) -> figures())) -> [round()].
all(Rounds, Sides, Measure) ->
    _ = [Measure(Side) || Side <- Sides],
    [one(N, Sides, Measure) || N <- lists:seq(1, Rounds)].

one(N, Sides, Measure) when N rem 2 =:= 1 ->
    maps:from_list([{Side, Measure(Side)} || Side <- Sides]);
one(_, Sides, Measure) ->
    one(1, lists:reverse(Sides), Measure).

-spec median([number(), ...]) -> number().
median(Numbers) ->
    Sorted = lists:sort(Numbers),
    Half = length(Sorted) div 2,
    case length(Sorted) rem 2 of
        1 -> lists:nth(Half + 1, Sorted);
        0 -> (lists:nth(Half, Sorted) + lists:nth(Half + 1, Sorted)) / 2
    end.
