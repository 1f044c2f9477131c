%% SPDX-License-Identifier: Apache-2.0
%% Something that a test lets run beside itself, and whose result it takes later.
-module(gen_rpc_test_task).

-export([start/1, start/2, result/1, results/1, is_running/1]).

-define(TIMEOUT, 60000).

-type t() :: {pid(), reference()}.
-export_type([t/0]).

-spec start(fun(() -> term())) -> t().
start(Fun) ->
    spawn_monitor(fun() -> exit({?MODULE, Fun()}) end).

%% N tasks, each with its number from 1 on.
-spec start(pos_integer(), fun((pos_integer()) -> term())) -> [t()].
start(N, Fun) ->
    [start(fun() -> Fun(I) end) || I <- lists:seq(1, N)].

-spec result(t()) -> term().
result({Pid, Monitor}) ->
    receive
        {'DOWN', Monitor, process, Pid, {?MODULE, Result}} -> Result;
        {'DOWN', Monitor, process, Pid, Reason} -> error({task_failed, Reason})
    after ?TIMEOUT ->
        error({task_never_ended, process_info(Pid, current_stacktrace)})
    end.

-spec results([t()]) -> [term()].
results(Tasks) ->
    [result(Task) || Task <- Tasks].

-spec is_running(t()) -> boolean().
is_running({Pid, _}) ->
    is_process_alive(Pid).
