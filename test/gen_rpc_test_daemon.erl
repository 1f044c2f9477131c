%% SPDX-License-Identifier: Apache-2.0
%% Programs that serve a test case: each ends when the case ends, however that is, and when this VM
%% does.
-module(gen_rpc_test_daemon).

-export([is_installed/1, start/3, kill/1]).

-type t() :: {pid(), reference()}.
-export_type([t/0]).

-spec is_installed(string()) -> boolean().
is_installed(Program) ->
    find(Program) =/= false.

%% Runs a program in the foreground until it is up.
-spec start(string(), [string()], IsUp :: fun(() -> boolean())) -> t().
start(Program, Arguments, IsUp) ->
    Starter = self(),
    {Keeper, _} = Daemon = spawn_monitor(fun() -> run(Starter, Program, Arguments) end),
    ok = gen_rpc_test_node:wait(fun() ->
                                        is_process_alive(Keeper) orelse error({ended, Program}),
                                        IsUp()
                                end),
    Daemon.

%% Until it is gone.
-spec kill(t()) -> ok.
kill({Keeper, Monitor}) ->
    Keeper ! kill,
    receive {'DOWN', Monitor, process, Keeper, _} -> ok end.

run(Starter, Program, Arguments) ->
    Monitor = monitor(process, Starter),
    Port = gen_rpc_test_command:start(find("setpriv"),
                                      ["--pdeathsig", "KILL", find(Program) | Arguments]),
    {os_pid, OsPid} = erlang:port_info(Port, os_pid),
    keep(Port, OsPid, Monitor).

keep(Port, OsPid, Monitor) ->
    receive
        {Port, {data, Text}} ->
            ct:log("~ts", [Text]),
            keep(Port, OsPid, Monitor);
        {Port, {exit_status, _}} ->
            ok;
        _KillOrDown ->
            _ = os:cmd("kill -KILL " ++ integer_to_list(OsPid)),
            receive {Port, {exit_status, _}} -> ok end
    end.

%% Some are where only root looks.
find(Program) ->
    os:find_executable(Program, os:getenv("PATH", "") ++ ":/usr/sbin:/sbin").
