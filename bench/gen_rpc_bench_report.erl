%% SPDX-License-Identifier: Apache-2.0
%% Rows of figures, and how they are shown. A ratio says how many times better than the other one
%% gen_rpc is: above 1 it is ahead, whether more is better or less.
-module(gen_rpc_bench_report).

-export([row/6, heading/0, line/1, legend/0]).

%% limit: a part of the work, with nothing else to do; plain: gen_rpc without a setting.
-type other() :: erpc | ssl | limit | plain | none.
%% Of the ratio; without another one of ours. {ours, _}: of ours, with another one beside it.
-type target() :: number() | {ours, number()}.
-type row() :: #{name := binary(),
                 unit := binary(),
                 ours := number() | null,
                 other := number() | null,
                 than := other(),
                 ratio := float() | null,
                 target := number() | null,
                 target_of := ours | ratio | null,
                 met := boolean() | null,
                 rounds := [[number()]]}.   % [Ours, Other], [Ours] or [Other] of each
-type unit() :: {more | less, Unit :: string()}. % which is better
-export_type([row/0, other/0, target/0]).

%% From the rounds of both, of gen_rpc alone or of a limit alone.
-spec row(string(), unit(), Key :: term(), other(), [gen_rpc_bench_rounds:round(), ...],
          target() | null) -> row().
row(Name, {Better, Unit}, Key, Than, Rounds, Target) ->
    Ours = figures(gen_rpc, Key, Rounds),
    Other = figures(Than, Key, Rounds),
    Ratio = median([ratio(Better, A, B) || {A, B} <- pairs(Ours, Other)]),
    {Of, Wanted} = target(Target, Ratio),
    #{name => list_to_binary(Name),
      unit => list_to_binary(Unit),
      ours => median(Ours),
      other => median(Other),
      than => Than,
      ratio => Ratio,
      target => Wanted,
      target_of => Of,
      met => case Of of
                 null -> null;
                 ours -> met(Better, median(Ours), Wanted);
                 ratio -> met(more, Ratio, Wanted)
             end,
      rounds => rounds(Ours, Other)}.

target(null, _Ratio) -> {null, null};
target({ours, Target}, _Ratio) -> {ours, Target};
target(Target, null) -> {ours, Target};
target(Target, _Ratio) -> {ratio, Target}.

figures(Side, Key, Rounds) ->
    [maps:get(Key, maps:get(Side, Round)) || Round <- Rounds, is_map_key(Side, Round)].

pairs([], _) -> [];
pairs(_, []) -> [];
pairs(Ours, Other) -> lists:zip(Ours, Other).

rounds(Ours, []) -> [[A] || A <- Ours];
rounds([], Other) -> [[B] || B <- Other];
rounds(Ours, Other) -> [[A, B] || {A, B} <- lists:zip(Ours, Other)].

median([]) -> null;
median(Figures) -> gen_rpc_bench_rounds:median(Figures).

ratio(_, Ours, Other) when Ours == 0; Other == 0 -> 1.0;
ratio(more, Ours, Other) -> Ours / Other;
ratio(less, Ours, Other) -> Other / Ours.

met(more, Figure, Target) -> Figure >= Target;
met(less, Figure, Target) -> Figure =< Target.

-spec heading() -> iolist().
heading() ->
    columns("", "", "gen_rpc", "other", "", "ratio", "target").

-spec line(row()) -> iolist().
line(#{name := Name, unit := Unit, ours := Ours, other := Other, than := Than,
       ratio := Ratio} = Row) ->
    columns(Name, Unit, number(Ours), number(Other), than(Than), ratio(Ratio), target(Row)).

-spec legend() -> iolist().
legend() ->
    "ratio: how many times better than erpc (over plain distribution), than OTP's ssl, or than\n"
        "the limit: a part of the work when nothing else is done, see gen_rpc_bench_limits.erl\n"
        "target: of the ratio, or of gen_rpc's own figure where it says so or is alone\n".

columns(Name, Unit, Ours, Other, Than, Ratio, Target) ->
    Line = io_lib:format("~-44s ~-8s ~11s ~11s ~-5s ~7s  ~s",
                         [Name, Unit, Ours, Other, Than, Ratio, Target]),
    [string:trim(Line, trailing), $\n].

than(none) -> "";
than(Than) -> atom_to_list(Than).

number(null) -> "";
number(N) when abs(N) >= 1000 -> grouped(integer_to_list(round(N)));
number(N) when abs(N) >= 100 -> integer_to_list(round(N));
number(N) when is_integer(N) -> integer_to_list(N);
number(N) when abs(N) >= 10 -> io_lib:format("~.1f", [N]);
number(N) -> io_lib:format("~.2f", [N]).

%% Thousands apart: 1234567 becomes 1 234 567.
grouped(Digits) when length(Digits) =< 3 ->
    Digits;
grouped(Digits) ->
    {Front, Back} = lists:split(length(Digits) - 3, Digits),
    grouped(Front) ++ " " ++ Back.

ratio(null) -> "";
ratio(Ratio) -> io_lib:format("~.2f", [Ratio]).

target(#{target := null}) ->
    "";
target(#{target := Target, target_of := Of, than := Than, met := Met}) ->
    io_lib:format("~s~p ~s", [case Of of ours when Than =/= none -> "own "; _ -> "" end, Target,
                              case Met of true -> "ok"; false -> "missed" end]).
