%% SPDX-License-Identifier: Apache-2.0
%% Programs of the operating system. What this VM has been preloaded with, a sanitizer, is not for them.
-module(gen_rpc_test_command).

-export([start/2, run/3]).

%% A port that sends all that it says, and then its exit status.
-spec start(file:filename(), [iodata()]) -> port().
start(File, Arguments) ->
    open_port({spawn_executable, File},
              [{args, Arguments}, {env, [{"LD_PRELOAD", false}]}, exit_status, stderr_to_stdout]).

%% To its end: its exit status, and all that it said. It may be silent for so long, ms.
-spec run(file:filename(), [iodata()], timeout()) -> {non_neg_integer(), string()}.
run(File, Arguments, Timeout) ->
    collect(start(File, Arguments), Timeout, []).

collect(Port, Timeout, Output) ->
    receive
        {Port, {data, Data}} -> collect(Port, Timeout, [Output | Data]);
        {Port, {exit_status, Status}} -> {Status, lists:flatten(Output)}
    after Timeout ->
        error({command_hangs, lists:flatten(Output)})
    end.
