%% SPDX-License-Identifier: Apache-2.0
%% Rows of figures, and how they are shown. A ratio says how many times better than erpc: above 1
%% gen_rpc is ahead, whether more is better or less.
-module(gen_rpc_bench_report).

-export([row/5, alone/4, heading/0, line/1]).

-type row() :: #{name := binary(),
                 unit := binary(),
                 ours := number(),
                 erpc := number() | null,
                 ratio := float() | null,
                 target := number() | null, % of the ratio; without erpc, of ours
                 met := boolean() | null,
                 rounds := [[number()]]}.   % [Ours, Erpc] or [Ours] of each
-type unit() :: {more | less, Unit :: string()}. % which is better
-export_type([row/0]).

%% A row from the rounds of both.
-spec row(string(), unit(), atom(), [{Ours :: map(), Erpc :: map()}], number() | null) -> row().
row(Name, {Better, Unit}, Key, Rounds, Target) ->
    Pairs = [[maps:get(Key, Ours), maps:get(Key, Erpc)] || {Ours, Erpc} <- Rounds],
    Ratio = gen_rpc_bench_rounds:median([ratio(Better, Ours, Erpc) || [Ours, Erpc] <- Pairs]),
    #{name => list_to_binary(Name),
      unit => list_to_binary(Unit),
      ours => gen_rpc_bench_rounds:median([Ours || [Ours, _] <- Pairs]),
      erpc => gen_rpc_bench_rounds:median([Erpc || [_, Erpc] <- Pairs]),
      ratio => Ratio,
      target => Target,
      met => met(more, Ratio, Target),
      rounds => Pairs}.

%% A row without anything to compare it with.
-spec alone(string(), unit(), [number()], number() | null) -> row().
alone(Name, {Better, Unit}, Figures, Target) ->
    Ours = gen_rpc_bench_rounds:median(Figures),
    #{name => list_to_binary(Name),
      unit => list_to_binary(Unit),
      ours => Ours,
      erpc => null,
      ratio => null,
      target => Target,
      met => met(Better, Ours, Target),
      rounds => [[Figure] || Figure <- Figures]}.

ratio(_, Ours, Erpc) when Ours == 0; Erpc == 0 -> 1.0;
ratio(more, Ours, Erpc) -> Ours / Erpc;
ratio(less, Ours, Erpc) -> Erpc / Ours.

met(_, _, null) -> null;
met(more, Figure, Target) -> Figure >= Target;
met(less, Figure, Target) -> Figure =< Target.

-spec heading() -> iolist().
heading() ->
    columns("", "", "gen_rpc", "erpc", "ratio", "target").

-spec line(row()) -> iolist().
line(#{name := Name, unit := Unit, ours := Ours, erpc := Erpc, ratio := Ratio} = Row) ->
    columns(Name, Unit, number(Ours), number(Erpc), ratio(Ratio), target(Row)).

columns(Name, Unit, Ours, Erpc, Ratio, Target) ->
    Line = io_lib:format("~-34s ~-8s ~11s ~11s ~7s  ~s", [Name, Unit, Ours, Erpc, Ratio, Target]),
    [string:trim(Line, trailing), $\n].

number(null) -> "";
number(N) when abs(N) >= 1000 -> grouped(integer_to_list(round(N)));
number(N) when abs(N) >= 100 -> integer_to_list(round(N));
number(N) -> io_lib:format("~.1f", [float(N)]).

%% Thousands apart: 1234567 becomes 1 234 567.
grouped(Digits) when length(Digits) =< 3 ->
    Digits;
grouped(Digits) ->
    {Front, Back} = lists:split(length(Digits) - 3, Digits),
    grouped(Front) ++ " " ++ Back.

ratio(null) -> "";
ratio(Ratio) -> io_lib:format("~.2f", [Ratio]).

target(#{target := null}) -> "";
target(#{target := Target, met := Met}) ->
    io_lib:format("~p ~s", [Target, case Met of true -> "ok"; false -> "below" end]).
