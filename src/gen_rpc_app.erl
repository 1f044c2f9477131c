%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Application callback. The settings are read and checked here: a wrong one stops the start.
-module(gen_rpc_app).

-behaviour(application).

-export([start/2, stop/1, reconfigure/0]).

-spec start(application:start_type(), term()) -> {ok, pid()} | {error, term()}.
start(_Type, _Args) ->
    ok = gen_rpc_log:start(),
    ok = gen_rpc_counters:start(),
    ok = gen_rpc_gate:start(),
    case gen_rpc_config:load(application:get_all_env(gen_rpc)) of
        ok ->
            case gen_rpc_sup:start_link() of
                {error, {shutdown, {failed_to_start_child, gen_rpc_tls, {tls, Reason}}}} ->
                    invalid(Reason);
                Result ->
                    Result
            end;
        {error, Reason} ->
            invalid(Reason)
    end.

invalid(Reason) ->
    ok = log_invalid(Reason),
    ok = stop([]),
    {error, Reason}.

log_invalid(Reason) ->
    gen_rpc_log:error(#{what => "invalid setting", reason => gen_rpc_config:format(Reason)}).

%% The settings again, while the application runs.
-spec reconfigure() -> ok | {error, gen_rpc_config:reason() | {not_started, gen_rpc}}.
reconfigure() ->
    case whereis(gen_rpc_sup) of
        undefined ->
            {error, {not_started, gen_rpc}};
        _ ->
            case gen_rpc_config:reload(application:get_all_env(gen_rpc)) of
                ok -> lists:foreach(fun gen_rpc_acceptor:admit/1, gen_rpc_acceptor_sup:acceptors());
                {error, Reason} = Error -> ok = log_invalid(Reason), Error
            end
    end.

-spec stop(term()) -> ok.
stop(_State) ->
    ok = gen_rpc_config:unload(),
    ok = gen_rpc_counters:stop(),
    ok = gen_rpc_gate:stop(),
    gen_rpc_log:stop().
