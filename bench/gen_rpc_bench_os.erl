%% SPDX-License-Identifier: Apache-2.0
%% What Linux knows of processes and of the machine.
-module(gen_rpc_bench_os).

-export([cpu/1, rss/1, machine/0, run/2, runs/3, while_stopped/2]).

%% USER_HZ, the unit of times in /proc: the same on every Linux that Erlang runs on.
-define(TICKS, 100).

%% CPU time that a process has used, user and system, us.
-spec cpu(OsPid :: string()) -> non_neg_integer().
cpu(OsPid) ->
    {ok, Stat} = file:read_file(["/proc/", OsPid, "/stat"]),
    %% The second field is a name in parentheses that may itself hold spaces and parentheses.
    [_, Rest] = re:split(Stat, "^.*\\) ", [dotall]),
    Fields = binary:split(Rest, <<" ">>, [global]),
    [User, System | _] = lists:nthtail(11, Fields),
    (binary_to_integer(User) + binary_to_integer(System)) * (1000000 div ?TICKS).

%% Resident memory, bytes.
-spec rss(OsPid :: string()) -> non_neg_integer().
rss(OsPid) ->
    {ok, Status} = file:read_file(["/proc/", OsPid, "/status"]),
    {match, [KiB]} = re:run(Status, "VmRSS:\\s+(\\d+) kB", [{capture, all_but_first, list}]),
    list_to_integer(KiB) * 1024.

-spec machine() -> #{atom() => binary() | integer()}.
machine() ->
    #{cpu => cpu_model(),
      cores => erlang:system_info(logical_processors_available),
      otp => list_to_binary(erlang:system_info(otp_release)),
      erts => list_to_binary(erlang:system_info(version)),
      kernel => string:trim(read("/proc/sys/kernel/osrelease"))}.

%% What a program prints, when it succeeds.
-spec run(Program :: file:filename(), Args :: [string()]) -> binary().
run(Program, Args) ->
    [Output] = runs(1, Program, Args),
    Output.

%% So many at once.
-spec runs(pos_integer(), Program :: file:filename(), Args :: [string()]) -> [binary()].
runs(Count, Program, Args) ->
    Options = [{args, Args}, exit_status, stderr_to_stdout, binary],
    Ports = [open_port({spawn_executable, Program}, Options) || _ <- lists:seq(1, Count)],
    [output(Port, Program, <<>>) || Port <- Ports].

%% Runs a function while a process is stopped. It goes on afterwards, also when this VM is killed:
%% the shell sees the end of its input.
-spec while_stopped(OsPid :: string(), fun(() -> Result)) -> Result.
while_stopped(OsPid, Function) ->
    Script = ["trap '' INT TERM HUP; kill -STOP ", OsPid, "; echo stopped; read _; "
              "kill -CONT ", OsPid, "; echo goes on"],
    Shell = open_port({spawn_executable, "/bin/sh"},
                      [{args, ["-c", lists:flatten(Script)]}, {line, 80}, exit_status]),
    receive {Shell, {data, {eol, "stopped"}}} -> ok end,
    try
        Function()
    after
        true = port_command(Shell, "\n"),
        receive {Shell, {data, {eol, "goes on"}}} -> ok end,
        receive {Shell, {exit_status, 0}} -> ok end
    end.

output(Port, Program, Output) ->
    receive
        {Port, {data, Data}} -> output(Port, Program, <<Output/binary, Data/binary>>);
        {Port, {exit_status, 0}} -> Output;
        {Port, {exit_status, Status}} -> error({filename:basename(Program), Status, Output})
    end.

cpu_model() ->
    Options = [{capture, all_but_first, binary}],
    case re:run(read("/proc/cpuinfo"), "model name\\s*: (.*)", Options) of
        {match, [Model]} -> Model;
        nomatch -> <<"unknown CPU">>
    end.

read(Path) ->
    {ok, Content} = file:read_file(Path),
    Content.
