%% SPDX-License-Identifier: Apache-2.0
%% A program of the operating system that is run to its end.
-module(gen_rpc_test_command).

-export([run/3]).

%% Its exit status, and all that it said. It may be silent for so long, ms.
-spec run(file:filename(), [iodata()], timeout()) -> {non_neg_integer(), string()}.
run(File, Arguments, Timeout) ->
    Port = open_port({spawn_executable, File},
                     [{args, Arguments}, exit_status, stderr_to_stdout]),
    collect(Port, Timeout, []).

collect(Port, Timeout, Output) ->
    receive
        {Port, {data, Data}} -> collect(Port, Timeout, [Output | Data]);
        {Port, {exit_status, Status}} -> {Status, lists:flatten(Output)}
    after Timeout ->
        error({command_hangs, lists:flatten(Output)})
    end.
