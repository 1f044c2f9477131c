%% SPDX-License-Identifier: Apache-2.0
%% The benchmarks. They report and never fail on speed, but a wrong result is an error.
-module(gen_rpc_bench).

-export([main/1]).

-define(USAGE, "usage: bench/run [--quick] [--only PATTERN] [--rounds N] [--seconds S] "
        "[--suite NAME]").

-type options() :: #{rounds := pos_integer(),
                     ms := pos_integer(),
                     connections := pos_integer(),
                     wait := pos_integer(), % SendTimeout of casts to a stopped node, ms
                     only := string(),   % a regular expression for names of rows
                     suite := string()}. % TLS

%% `bench/run': prints the table and writes results.json into the directory.
-spec main([Directory :: string()]) -> no_return().
main([Directory]) ->
    try options(init:get_plain_arguments(), defaults()) of
        Options -> halt(run(Directory, Options))
    catch
        throw:Message ->
            io:format(standard_error, "~s~n~s~n", [Message, ?USAGE]),
            halt(2)
    end.

run(Directory, Options) ->
    try
        Machine = gen_rpc_bench_os:machine(),
        io:put_chars([title(Machine, Options), gen_rpc_bench_report:heading()]),
        Rows = rows(Options),
        File = filename:join(Directory, "results.json"),
        ok = file:write_file(File, [gen_rpc_bench_json:encode(
                                      (maps:with([rounds, ms, suite], Options))#{machine => Machine,
                                                                          rows => Rows}), $\n]),
        io:format("~n~sAll rounds: ~s~n", [gen_rpc_bench_report:legend(), File])
    of
        ok -> 0
    catch
        Class:Reason:Stack ->
            io:format(standard_error, "bench failed: ~0tP~n~0tP~n",
                      [{Class, Reason}, 40, Stack, 60]),
            1
    end.

rows(#{only := Only} = Options) ->
    Wanted = [Item || {Name, _, _, _} = Item <- gen_rpc_bench_suite:all(),
                      re:run(Name, Only, [{capture, none}]) =:= match],
    {Items, Others} = lists:partition(fun gen_rpc_bench_rows:possible/1, Wanted),
    Rows = rows(Items, Options),
    io:put_chars([["skipped, this gen_rpc can't do it: ", Name, $\n]
                  || {Name, _, _, _} <- Others]),
    Rows.

%% Items in a row that want the same pair of nodes share one.
rows([], _Options) ->
    [];
rows([{_, How, _, _} | _] = Items, #{suite := Suite} = Options) ->
    {Same, Others} = lists:splitwith(fun({_, OfItem, _, _}) -> OfItem =:= How end, Items),
    Rows = gen_rpc_bench_node:with_pair(
             How, Suite,
             fun(#{client := Client, servers := Servers, tls := Tls}) ->
                     Call = fun(M, F, A) -> gen_rpc_bench_node:call(Client, M, F, A) end,
                     Nodes = [Node || #{node := Node} <- Servers],
                     measure(Same, Options#{call => Call, servers => Nodes, tls => Tls})
             end),
    Rows ++ rows(Others, Options).

measure(Items, Context) ->
    lists:append([begin
                      Rows = gen_rpc_bench_rows:rows(Item, Context),
                      io:put_chars([gen_rpc_bench_report:line(Row) || Row <- Rows]),
                      Rows
                  end || Item <- Items]).

title(#{cpu := Cpu, cores := Cores, otp := Otp, erts := Erts, kernel := Kernel},
      #{rounds := Rounds, ms := Ms, suite := Suite}) ->
    io_lib:format("~b x ~ts, OTP ~s (erts ~s), Linux ~s~n"
                  "medians of ~b rounds of ~.1f s, both nodes on this machine; TLS: ~s~n~n",
                  [Cores, Cpu, Otp, Erts, Kernel, Rounds, Ms / 1000, Suite]).

%%% Options

-spec defaults() -> options().
defaults() ->
    #{rounds => 5, ms => 400, connections => 1000, wait => 4, only => "",
      suite => "ECDHE-ECDSA-AES128-GCM-SHA256"}.

options(["--quick" | Rest], Options) ->
    options(Rest, Options#{rounds := 3, ms := 200, connections := 200, wait := 1});
options(["--only", Pattern | Rest], Options) ->
    case re:compile(Pattern) of
        {ok, _} -> options(Rest, Options#{only := Pattern});
        {error, _} -> throw("not a regular expression: " ++ Pattern)
    end;
options(["--rounds", N | Rest], Options) ->
    options(Rest, Options#{rounds := round(positive(N))});
options(["--seconds", S | Rest], Options) ->
    options(Rest, Options#{ms := round(1000 * positive(S))});
options(["--suite", Name | Rest], Options) ->
    case lists:member(Name, gen_rpc_bench_tls:suites()) of
        true -> options(Rest, Options#{suite := Name});
        false -> throw("the suite must be one of " ++ lists:join(" ", gen_rpc_bench_tls:suites()))
    end;
options([], Options) ->
    Options;
options([Other | _], _Options) ->
    throw("unknown or incomplete option: " ++ Other).

positive(Text) ->
    Number = case string:to_float(Text) of
                 {Float, ""} -> Float;
                 _ -> try list_to_integer(Text) catch error:badarg -> 0 end
             end,
    case Number >= 0.001 of
        true -> Number;
        false -> throw("not a positive number: " ++ Text)
    end.
